-- When a token opens nothing any more, in milliseconds since 1970; none while the study runs.
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
