-- When a repository's lock file is to be updated, by the policy of its default branch: the schedule as it
-- was written, and when it fires next; NULL without one.
ALTER TABLE repository ADD COLUMN update_schedule TEXT;
ALTER TABLE repository ADD COLUMN update_due_at BIGINT;

-- Updates of lock files. `group_name` and `plan`: what it is about, once the newest revisions were looked up.
-- `beside`: the update whose look at them this one is from, NULL of one that was asked for.
-- `made`: what GitHub made for it last. `report`: what its end has to say to people, as Markdown.
CREATE TABLE lock_update (
    id TEXT NOT NULL PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repository (id),
    cause TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    beside TEXT,
    round BIGINT NOT NULL,
    group_name TEXT NOT NULL,
    plan TEXT,
    made TEXT,
    pull BIGINT,
    note TEXT,
    report TEXT,
    state TEXT NOT NULL,
    state_at BIGINT NOT NULL,
    outcome TEXT,
    not_before BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    claim BIGINT NOT NULL,
    claimed_by TEXT,
    claimed_until BIGINT NOT NULL
);
CREATE INDEX lock_update_state ON lock_update (state, not_before);
CREATE INDEX lock_update_repository ON lock_update (repository_id, created_at);

-- A run of a lock file that an update tries: the commit of which it is, with this text in the place of its
-- own; which inputs have moved in it; the hosts that it is about, NULL for all; and the input that is at a
-- commit on its way to its newest revision, NULL in all but those that look for the first bad one.
CREATE TABLE lock_trial (
    run_id TEXT NOT NULL PRIMARY KEY REFERENCES run (id),
    update_id TEXT NOT NULL REFERENCES lock_update (id),
    nth BIGINT NOT NULL,
    round BIGINT NOT NULL,
    base TEXT NOT NULL,
    path TEXT NOT NULL,
    lock TEXT NOT NULL,
    moved TEXT NOT NULL,
    hosts TEXT,
    probe TEXT
);
CREATE INDEX lock_trial_update ON lock_trial (update_id, nth);

-- The pull request of each group of inputs. `head`: the commit that was put on its branch last, and the
-- hash of the lock file in it. `stood_back`: a person's commit that was found there, and told of.
-- `green_since`: when the gate of its head passed, NULL while it has not.
CREATE TABLE lock_pull (
    repository_id BIGINT NOT NULL REFERENCES repository (id),
    group_name TEXT NOT NULL,
    branch TEXT NOT NULL,
    number BIGINT,
    state TEXT NOT NULL,
    head TEXT NOT NULL,
    base TEXT NOT NULL,
    lock_hash TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    stood_back TEXT,
    green_since BIGINT,
    PRIMARY KEY (repository_id, group_name)
);

-- What is held back or failed in each group at the moment, and the issue that tells of it.
CREATE TABLE lock_issue (
    repository_id BIGINT NOT NULL PRIMARY KEY REFERENCES repository (id),
    number BIGINT NOT NULL,
    standing TEXT NOT NULL,
    shown TEXT NOT NULL,
    checked_at BIGINT NOT NULL
);
