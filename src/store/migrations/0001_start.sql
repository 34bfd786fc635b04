-- TEXT and BIGINT only, times in milliseconds, ids of our own: one text for SQLite and PostgreSQL.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta (key, value) VALUES ('program', 'fleetcheck');

-- The names of a delivery's states all have seven letters and `changed_at` is never NULL, so that
-- SQLite changes a state in place instead of writing the body's pages again.
CREATE TABLE delivery (
    guid            TEXT PRIMARY KEY,
    event           TEXT NOT NULL,
    action          TEXT,
    repository_id   BIGINT,
    installation_id BIGINT,
    received_at     BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    state           TEXT NOT NULL,
    note            TEXT,
    body_sha256     TEXT NOT NULL,
    body            TEXT NOT NULL
);
CREATE INDEX delivery_by_state ON delivery (state, changed_at);
CREATE INDEX delivery_by_body ON delivery (body_sha256) WHERE state <> 'ignored';

CREATE TABLE installation (
    id         BIGINT PRIMARY KEY,
    standing   TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE repository (
    id              BIGINT PRIMARY KEY,
    owner           TEXT NOT NULL,
    name            TEXT NOT NULL,
    default_branch  TEXT NOT NULL,
    visibility      TEXT NOT NULL,
    installation_id BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE INDEX repository_by_name ON repository (owner, name);

CREATE TABLE run (
    id            TEXT PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repository (id),
    sha           TEXT NOT NULL,
    reason        TEXT NOT NULL,
    base          TEXT,
    occurred_at   BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    state         TEXT NOT NULL,
    state_at      BIGINT NOT NULL,
    verdict       TEXT,
    -- What is wrong with the run as a whole, as JSON.
    problem       TEXT,
    -- Why its evaluation waits, and until when; NULL and 0 when it does not.
    waits         TEXT,
    not_before    BIGINT NOT NULL,
    -- Counts the claims, so that an older claim of the same process is told apart.
    claim         BIGINT NOT NULL,
    claimed_by    TEXT,
    claimed_until BIGINT NOT NULL,
    UNIQUE (repository_id, sha, reason)
);
CREATE INDEX run_by_reason ON run (repository_id, reason, occurred_at);
CREATE INDEX run_by_age ON run (created_at, id);
CREATE INDEX run_open ON run (state, created_at) WHERE state <> 'ended';

CREATE TABLE build (
    id              TEXT PRIMARY KEY,
    run_id          TEXT NOT NULL REFERENCES run (id),
    -- `attr`, or its hash where it is too long for an index.
    attr_key        TEXT NOT NULL,
    attr            TEXT NOT NULL,
    label           TEXT,
    required        TEXT NOT NULL,
    -- Its place among its run's builds: the n-th builds of all runs are peers in the queue.
    rank            BIGINT NOT NULL,
    state           TEXT NOT NULL,
    since           BIGINT NOT NULL,
    system          TEXT,
    drv             TEXT,
    derivation      TEXT,
    waiting         TEXT,
    -- 1 while no builder of the settings can take it.
    held            BIGINT NOT NULL,
    not_before      BIGINT NOT NULL,
    attempts        BIGINT NOT NULL,
    -- How many of them ended as weather.
    weathers        BIGINT NOT NULL,
    -- The newest attempt; kept when the build has ended, for its log.
    attempt_id      TEXT,
    ending          TEXT,
    ended_at        BIGINT,
    evaluation_ms   BIGINT,
    evaluation_peak BIGINT,
    UNIQUE (run_id, attr_key)
);
CREATE INDEX build_queue ON build (system, rank, since, id) WHERE state = 'waiting' AND held = 0;
CREATE INDEX build_held ON build (id) WHERE state = 'waiting' AND held = 1;
CREATE INDEX build_by_derivation ON build (drv, state);
CREATE INDEX build_by_attempt ON build (attempt_id) WHERE state = 'building';
CREATE INDEX build_open ON build (run_id, required, state) WHERE state <> 'ended';

CREATE TABLE attempt (
    id            TEXT PRIMARY KEY,
    drv           TEXT NOT NULL,
    builder       TEXT NOT NULL,
    state         TEXT NOT NULL,
    claimed_by    TEXT NOT NULL,
    claimed_until BIGINT NOT NULL,
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    outcome       TEXT,
    log_bytes     BIGINT NOT NULL
);
CREATE UNIQUE INDEX attempt_running ON attempt (drv) WHERE state = 'running';
CREATE INDEX attempt_by_derivation ON attempt (drv, started_at);

CREATE TABLE report (
    id           TEXT PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES run (id),
    build_id     TEXT REFERENCES build (id),
    kind         TEXT NOT NULL,
    -- Revisions: what is known, and what GitHub shows.
    wanted       BIGINT NOT NULL,
    shown        BIGINT NOT NULL,
    -- Which of the reports that are behind goes first (0), since when and from when on.
    rank         BIGINT NOT NULL,
    since        BIGINT NOT NULL,
    not_before   BIGINT NOT NULL,
    serial       BIGINT NOT NULL,
    github_id    BIGINT,
    shown_status TEXT,
    shown_digest TEXT,
    shown_at     BIGINT NOT NULL,
    times_shown  BIGINT NOT NULL,
    tries        BIGINT NOT NULL,
    last_error   TEXT
);
CREATE INDEX report_behind ON report (rank, since, id) WHERE wanted > shown;
CREATE INDEX report_by_build ON report (build_id);
CREATE INDEX report_by_run ON report (run_id, kind);

-- What is known of a host from earlier commits.
CREATE TABLE memory (
    repository_id   BIGINT NOT NULL,
    attr_key        TEXT NOT NULL,
    attr            TEXT NOT NULL,
    evaluation_ms   BIGINT,
    evaluation_peak BIGINT,
    build_ms        BIGINT,
    last_good_drv   TEXT,
    last_good_out   TEXT,
    last_good_at    BIGINT NOT NULL,
    seen_at         BIGINT NOT NULL,
    PRIMARY KEY (repository_id, attr_key)
);
CREATE INDEX memory_good ON memory (repository_id) WHERE last_good_out IS NOT NULL;
