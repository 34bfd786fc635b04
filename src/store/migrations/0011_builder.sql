-- The builders of the settings: what each can do, how it stands with it, and since when.
CREATE TABLE builder (
    name       TEXT PRIMARY KEY,
    capability TEXT NOT NULL,
    slots      BIGINT NOT NULL,
    condition  TEXT NOT NULL,
    since      BIGINT NOT NULL,
    looked_at  BIGINT NOT NULL,
    -- Drained by hand since then.
    drained_at BIGINT,
    facts      TEXT NOT NULL
);
