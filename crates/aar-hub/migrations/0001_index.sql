-- The index: what the ledger's events amount to. Nothing is here that replaying them would not
-- bring back, so this file may be deleted at any time while the hub is closed.

-- How far the ledger has been applied.
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, head TEXT NOT NULL);
INSERT INTO progress VALUES (1, 0, '');

CREATE TABLE study (one INTEGER PRIMARY KEY CHECK (one = 1), opened_at INTEGER NOT NULL, study TEXT NOT NULL, problems TEXT NOT NULL, closed_at INTEGER);

CREATE TABLE researchers (name TEXT PRIMARY KEY, direction TEXT NOT NULL, at INTEGER NOT NULL);

CREATE TABLE tokens (holder TEXT NOT NULL, scope TEXT NOT NULL, token_hash TEXT NOT NULL, PRIMARY KEY (holder, scope));

CREATE TABLE spending (
    researcher TEXT PRIMARY KEY,
    evaluations INTEGER NOT NULL DEFAULT 0,
    evaluations_reserved INTEGER NOT NULL DEFAULT 0,
    experiments INTEGER NOT NULL DEFAULT 0,
    experiments_reserved INTEGER NOT NULL DEFAULT 0,
    compute_seconds REAL NOT NULL DEFAULT 0
);

CREATE TABLE snapshots (id TEXT PRIMARY KEY, researcher TEXT NOT NULL, method TEXT NOT NULL, family TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE lineage (snapshot TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY (snapshot, parent));

CREATE TABLE findings (
    id INTEGER PRIMARY KEY, researcher TEXT NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL,
    text TEXT NOT NULL, snapshot TEXT, evaluation INTEGER, at INTEGER NOT NULL
);
CREATE VIRTUAL TABLE findings_words USING fts5 (title, text, content = 'findings', content_rowid = 'id');
CREATE TABLE comments (id INTEGER PRIMARY KEY, finding INTEGER NOT NULL, researcher TEXT NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX comments_by_finding ON comments (finding);
CREATE TABLE votes (finding INTEGER NOT NULL, researcher TEXT NOT NULL, up INTEGER NOT NULL, PRIMARY KEY (finding, researcher));

-- state: waiting, good or failed. Which waiting runs are being worked on is known to the process only.
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, researcher TEXT NOT NULL, snapshot TEXT NOT NULL, seed TEXT NOT NULL,
    trial_rows INTEGER, requested_at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    reason TEXT, output TEXT, compute_seconds REAL, ended_at INTEGER
);
CREATE INDEX experiments_by_state ON experiments (state);
-- score orders the answers of one study; claimed: better than the incumbent when it ended.
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY, researcher TEXT NOT NULL, snapshot TEXT NOT NULL, seeds TEXT NOT NULL,
    requested_at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', reason TEXT, feedback TEXT,
    score REAL, claimed INTEGER NOT NULL DEFAULT 0, compute_seconds REAL, ended_at INTEGER
);
CREATE INDEX evaluations_by_state ON evaluations (state);
CREATE INDEX evaluations_by_snapshot ON evaluations (snapshot);

CREATE TABLE replications (
    id INTEGER PRIMARY KEY, snapshot TEXT NOT NULL, grp TEXT NOT NULL, problem TEXT NOT NULL,
    promoted INTEGER NOT NULL, record TEXT NOT NULL, compute_seconds REAL NOT NULL, at INTEGER NOT NULL
);
CREATE TABLE failed_replications (seq INTEGER PRIMARY KEY, snapshot TEXT NOT NULL, problem TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL);
