-- Cases with the decision that stands. An index that was begun before this migration has none, as
-- its ledger has none.
CREATE TABLE cases (
    id INTEGER PRIMARY KEY, suspicion TEXT NOT NULL, researcher TEXT NOT NULL, snapshot TEXT,
    weight REAL NOT NULL, evidence TEXT NOT NULL, verdict TEXT, decision TEXT, at INTEGER NOT NULL
);
-- The snapshots that standing decisions take off the board.
CREATE VIEW withdrawn AS
    SELECT s.id AS snapshot FROM snapshots s JOIN cases c
    ON c.verdict = 'disqualified'
    AND (c.snapshot = s.id OR (c.snapshot IS NULL AND c.researcher = s.researcher));
