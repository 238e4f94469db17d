-- What the limits on disk and votes are counted from. An index that was begun before this migration
-- does not know what was stored and voted before it; deleted, it is made anew and does.

-- Every blob of a snapshot, its manifest among them, and who was the first to store it.
CREATE TABLE snapshot_blobs (digest TEXT PRIMARY KEY, researcher TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX snapshot_blobs_by_researcher ON snapshot_blobs (researcher);
ALTER TABLE spending ADD COLUMN votes_cast INTEGER NOT NULL DEFAULT 0;
