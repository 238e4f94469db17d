-- A case against a researcher as a whole takes no snapshot off the board that somebody else had
-- scored or nominated.
DROP VIEW withdrawn;
CREATE VIEW withdrawn AS
    SELECT s.id AS snapshot FROM snapshots s JOIN cases c
    ON c.verdict = 'disqualified'
    AND (c.snapshot = s.id OR (
        c.snapshot IS NULL AND c.researcher = s.researcher
        AND NOT EXISTS (SELECT 1 FROM evaluations e
                        WHERE e.snapshot = s.id AND e.researcher <> s.researcher)
        AND NOT EXISTS (SELECT 1 FROM nominations n
                        WHERE n.snapshot = s.id AND n.researcher <> s.researcher)));
