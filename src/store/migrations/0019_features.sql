-- What a build asks of a builder besides the system, in order, each followed by a blank; so that a
-- builder looks at what it can build alone, however much else waits. Of those that wait meanwhile it
-- is not known: whoever takes them compares the derivation itself.
ALTER TABLE build ADD COLUMN features TEXT NOT NULL DEFAULT '';
DROP INDEX build_queue_at_home;
CREATE INDEX build_queue_at_home ON build (home, system, features, rank, since, id)
    WHERE state = 'waiting' AND held = 0;
