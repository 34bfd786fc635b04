-- What is behind, run by run: looked for with every request, so never among all that ever was shown.
DROP INDEX report_behind;
CREATE INDEX report_behind ON report (run_id, rank, since, id) WHERE wanted > shown;

-- Also of builds that have ended: an attempt's log is kept as long as one of them shows it.
DROP INDEX build_by_attempt;
CREATE INDEX build_by_attempt ON build (attempt_id) WHERE attempt_id IS NOT NULL;

-- Runs that are old enough to be forgotten.
CREATE INDEX run_by_end ON run (state_at, id) WHERE state = 'ended';
