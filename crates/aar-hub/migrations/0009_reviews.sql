-- One label for each finding, one review for each snapshot: a second one is refused.
CREATE TABLE ideas (finding INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE reviews (snapshot TEXT PRIMARY KEY, at INTEGER NOT NULL);
