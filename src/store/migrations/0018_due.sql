-- Builds that are tried again at a time: looked for twice a second.
CREATE INDEX build_due ON build (not_before) WHERE state = 'waiting' AND held = 0 AND not_before > 0;
-- All that wait, by since when: those that waited too long are looked for.
CREATE INDEX build_waiting ON build (since) WHERE state = 'waiting';
