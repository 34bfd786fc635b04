-- What GitHub could not deliver, and repositories that leave and come back.

-- 'active', 'archived' or 'gone'.
ALTER TABLE repository ADD COLUMN standing TEXT NOT NULL DEFAULT 'active';
-- When its heads were last compared with its runs; 0 for "as soon as possible".
ALTER TABLE repository ADD COLUMN heads_at BIGINT NOT NULL DEFAULT 0;
-- 1 while the run is over because its repository was out of reach: it goes on when that is back.
ALTER TABLE run ADD COLUMN interrupted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX run_interrupted ON run (repository_id) WHERE interrupted = 1;

-- Moments that must survive a crash, by name.
CREATE TABLE mark (name TEXT PRIMARY KEY, at BIGINT NOT NULL);

-- What each look at GitHub found.
CREATE TABLE look (
    id       TEXT PRIMARY KEY,
    -- 'deliveries' or 'heads'.
    kind     TEXT NOT NULL,
    at       BIGINT NOT NULL,
    looked   BIGINT NOT NULL,
    missed   BIGINT NOT NULL,
    asked    BIGINT NOT NULL,
    given_up BIGINT NOT NULL,
    note     TEXT
);
CREATE INDEX look_by_kind ON look (kind, at);

-- Deliveries that did not reach us.
CREATE TABLE missed (
    guid            TEXT PRIMARY KEY,
    -- Of its newest try, by which GitHub is asked to send it again.
    github_id       BIGINT NOT NULL,
    event           TEXT NOT NULL,
    action          TEXT,
    repository_id   BIGINT,
    installation_id BIGINT,
    delivered_at    BIGINT NOT NULL,
    -- How often it was asked for, and from when on it may be again.
    asked           BIGINT NOT NULL,
    not_before      BIGINT NOT NULL,
    -- 'missing', 'arrived' or 'given_up'.
    state           TEXT NOT NULL,
    changed_at      BIGINT NOT NULL,
    note            TEXT
);
CREATE INDEX missed_by_state ON missed (state, changed_at);
