-- What the referee found out about replicated methods, one audit for each replication.
CREATE TABLE audits (replication INTEGER PRIMARY KEY, record TEXT NOT NULL, compute_seconds REAL NOT NULL, at INTEGER NOT NULL);
