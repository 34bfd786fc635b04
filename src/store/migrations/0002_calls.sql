-- GitHub's GraphQL API names things by node ids; NULL until GitHub has told them.
ALTER TABLE repository ADD COLUMN node_id TEXT;
ALTER TABLE report ADD COLUMN node_id TEXT;
-- Annotations that the check run has; NULL when that is not known and GitHub has to be asked.
ALTER TABLE report ADD COLUMN annotations BIGINT;
-- 1 when a person asked for this check: it is shown however many hosts its run has.
ALTER TABLE report ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;
