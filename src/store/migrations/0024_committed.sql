-- When the commit under test was made, in seconds: what is built of it is compared where there is no mirror.
ALTER TABLE run ADD COLUMN committed_at BIGINT;
