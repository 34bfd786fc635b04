-- Whose commit it is: trusted, or untrusted (a fork's).
ALTER TABLE run ADD COLUMN trust TEXT NOT NULL DEFAULT 'trusted';
UPDATE run SET trust = 'untrusted' WHERE state = 'awaiting_approval';
-- The branch that a pull request is to be merged into.
ALTER TABLE run ADD COLUMN base_branch TEXT;
-- What is tested in the place of the commit, as JSON: a merge, the branch and where that was.
ALTER TABLE run ADD COLUMN merged TEXT;
-- 1 when somebody asked for the run although its commit asks to be skipped.
ALTER TABLE run ADD COLUMN skip_overruled BIGINT NOT NULL DEFAULT 0;
