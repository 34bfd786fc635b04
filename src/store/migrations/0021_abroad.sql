-- What instances know of each other. How far a running attempt is, as its instance noted it when it
-- last renewed its claim (JSON): that one knows better.
ALTER TABLE attempt ADD COLUMN progress TEXT;
-- Where the others reach an instance, for the logs that it wrote; empty when its settings do not say.
ALTER TABLE instance ADD COLUMN url TEXT NOT NULL DEFAULT '';
