-- Finds what failed within the last hour among the attempts of years.
CREATE INDEX attempt_by_end ON attempt (ended_at) WHERE state = 'ended';
