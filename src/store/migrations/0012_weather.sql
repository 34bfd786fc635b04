-- Why the attempt before ended, as JSON: the builder and what happened there.
ALTER TABLE build ADD COLUMN earlier TEXT;
-- 1 when somebody asked for it again: then what is remembered of its derivation does not count.
ALTER TABLE build ADD COLUMN by_hand BIGINT NOT NULL DEFAULT 0;
-- How often a host failed and then passed with the same derivation, and when it last did.
ALTER TABLE memory ADD COLUMN flaky BIGINT NOT NULL DEFAULT 0;
ALTER TABLE memory ADD COLUMN flaky_at BIGINT;
