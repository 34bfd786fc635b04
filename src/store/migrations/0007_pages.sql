-- `gate.existing_failures` of the policy that the run was planned by; NULL for the default.
ALTER TABLE run ADD COLUMN existing_failures TEXT;
-- The commit that the run is compared with: its base, or what it was merged into.
ALTER TABLE run ADD COLUMN compared TEXT;
CREATE INDEX run_by_compared ON run (repository_id, compared) WHERE compared IS NOT NULL;
-- What Nix warned of while it evaluated the host, as JSON; NULL for nothing.
ALTER TABLE build ADD COLUMN warnings TEXT;
