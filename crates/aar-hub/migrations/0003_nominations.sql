-- Which method each researcher trusts most; its last nomination counts.
CREATE TABLE nominations (seq INTEGER PRIMARY KEY, researcher TEXT NOT NULL, snapshot TEXT NOT NULL);
