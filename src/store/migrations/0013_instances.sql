-- The instances of the service that share this store, each under the name that its directory keeps.
CREATE TABLE instance (
    owner    TEXT PRIMARY KEY,
    -- When it was heard of last: whoever falls silent has its work taken over.
    seen_at  BIGINT NOT NULL
);
-- What one instance does at a time, by name.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    held_until BIGINT NOT NULL
);
-- How one instance sees a builder; `builder` has what they see together.
CREATE TABLE sight (
    builder   TEXT NOT NULL,
    owner     TEXT NOT NULL,
    condition TEXT NOT NULL,
    since     BIGINT NOT NULL,
    looked_at BIGINT NOT NULL,
    PRIMARY KEY (builder, owner)
);
-- Whose own machine it is; empty of another machine, which instances share.
ALTER TABLE builder ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- In whose Nix store its derivation, or what was built of it, is.
ALTER TABLE build ADD COLUMN home TEXT NOT NULL DEFAULT '';
CREATE INDEX build_queue_at_home ON build (home, system, rank, since, id)
    WHERE state = 'waiting' AND held = 0;
-- The one instance that may evaluate it; empty for any.
ALTER TABLE run ADD COLUMN home TEXT NOT NULL DEFAULT '';
-- Attempts that share an operation, and so a slot, have its name.
ALTER TABLE attempt ADD COLUMN operation TEXT;
CREATE INDEX attempt_by_builder ON attempt (builder) WHERE state = 'running';
