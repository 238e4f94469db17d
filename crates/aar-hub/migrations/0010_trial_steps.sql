ALTER TABLE experiments ADD COLUMN trial_steps INTEGER;
