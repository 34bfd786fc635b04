-- What the derivations of a run depend on: two runs with the same text have the same. NULL where nobody
-- may rely on them.
ALTER TABLE run ADD COLUMN evaluation TEXT;
CREATE INDEX run_by_evaluation ON run (repository_id, evaluation) WHERE evaluation IS NOT NULL;
