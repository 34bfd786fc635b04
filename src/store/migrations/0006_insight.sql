-- The commit that a run's hosts are compared with (the merge base of a pull request), and the
-- flake's own files in the Nix store, which are in every system that uses them.
ALTER TABLE run ADD COLUMN compared_with TEXT;
ALTER TABLE run ADD COLUMN source TEXT;

CREATE TABLE insight (
    build_id   TEXT PRIMARY KEY REFERENCES build (id),
    run_id     TEXT NOT NULL REFERENCES run (id),
    -- Counts the endings of the build, so that the answer for an older one is told apart.
    generation BIGINT NOT NULL,
    -- `wanted` or `known`.
    state      TEXT NOT NULL,
    since      BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    -- The system that must stay in the Nix store until the host is compared.
    out        TEXT,
    -- Of the form of `result`, which is JSON; 0 and NULL before there is one.
    version    BIGINT NOT NULL,
    result     TEXT
);
CREATE INDEX insight_wanted ON insight (not_before, since) WHERE state = 'wanted';
CREATE INDEX insight_by_run ON insight (run_id);
