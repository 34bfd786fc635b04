-- When the lock file of a default branch's commit last moved, and from when on that it has not moved since
-- is told; NULL without one, or for never. The repository's outlive its runs.
ALTER TABLE run ADD COLUMN lock_moved_at BIGINT;
ALTER TABLE run ADD COLUMN lock_stale_at BIGINT;
ALTER TABLE repository ADD COLUMN lock_moved_at BIGINT;
ALTER TABLE repository ADD COLUMN lock_stale_at BIGINT;
