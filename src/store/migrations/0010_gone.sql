-- Branches that were deleted and merge groups that were dissolved, each with its last head and
-- GitHub's time of its newest end: what comes late of it starts nothing.
CREATE TABLE gone (
    repository_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    head TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, reason)
);
CREATE INDEX gone_by_noted ON gone (noted_at);
