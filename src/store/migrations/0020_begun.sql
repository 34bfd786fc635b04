-- A check run that was begun has a serial above 0, or GitHub's ids: whoever asked for it again is served
-- by that alone.
ALTER TABLE report DROP COLUMN asked;
