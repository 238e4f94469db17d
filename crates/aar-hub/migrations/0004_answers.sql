-- The stored predictions of an answered evaluation, as JSON: the Ladder compares with its leader's.
ALTER TABLE evaluations ADD COLUMN outputs TEXT;
CREATE INDEX evaluations_by_researcher ON evaluations (researcher);
