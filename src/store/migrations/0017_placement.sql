-- How fast a builder is beside the others, in thousandths.
ALTER TABLE builder ADD COLUMN speed BIGINT NOT NULL DEFAULT 1000;
-- The builder that built a host last: most of what its next build needs is there.
ALTER TABLE memory ADD COLUMN built_on TEXT;
