-- When an attempt's log was put into the bucket; 0 of one that left no log, NULL while it is to be put there.
ALTER TABLE attempt ADD COLUMN archived_at BIGINT;
-- What an instance has to put there: looked for every few seconds, never among all that there ever was.
CREATE INDEX attempt_unarchived ON attempt (claimed_by, ended_at, id)
    WHERE archived_at IS NULL AND state = 'ended';
-- And what goes from there, by its age.
CREATE INDEX attempt_archived ON attempt (ended_at, id) WHERE archived_at > 0;
