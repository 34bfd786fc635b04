-- Whether somebody had to say that a run's commit may be tested: not_needed, needed, given (by).
ALTER TABLE run ADD COLUMN approval TEXT NOT NULL DEFAULT 'not_needed';
ALTER TABLE run ADD COLUMN approved_by TEXT;
UPDATE run SET approval = 'needed' WHERE state = 'awaiting_approval';
-- The answer to a click that was refused.
ALTER TABLE run ADD COLUMN note TEXT;
ALTER TABLE build ADD COLUMN note TEXT;
-- The newest re-run of the check suite that was counted: GitHub's `updated_at` of it.
ALTER TABLE run ADD COLUMN suite_at BIGINT NOT NULL DEFAULT 0;
-- if_missing, or from_scratch: built even if its outputs are valid.
ALTER TABLE build ADD COLUMN rebuild TEXT NOT NULL DEFAULT 'if_missing';

-- Comments that were commands, and the reaction that each is owed.
CREATE TABLE reaction (
    comment_id    BIGINT PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    content       TEXT NOT NULL,
    -- owed, shown, given_up
    state         TEXT NOT NULL,
    tries         BIGINT NOT NULL,
    not_before    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL
);
CREATE INDEX reaction_owed ON reaction (not_before) WHERE state = 'owed';
