-- One label for each finding, one review for each snapshot: a second one is refused.
CREATE TABLE ideas (finding INTEGER PRIMARY KEY);
CREATE TABLE reviews (snapshot TEXT PRIMARY KEY);
