-- Where the others reach an instance's Nix store, for what it evaluated; empty when its settings do not say.
ALTER TABLE instance ADD COLUMN store TEXT NOT NULL DEFAULT '';
