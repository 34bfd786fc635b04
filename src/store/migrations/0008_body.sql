-- A body is kept packed (zstd): a fifth of the bytes that a commit must bring to the disk before the
-- 202. `body` holds those that were kept before and is empty since.
ALTER TABLE delivery ADD COLUMN packed BYTEA;
