-- Since when something failed there that may be the builder's, and nobody has looked.
ALTER TABLE sight ADD COLUMN suspect_at BIGINT;
