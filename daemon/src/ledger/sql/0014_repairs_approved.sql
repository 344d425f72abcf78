-- What somebody approved of does not count for what may be repaired unasked.
ALTER TABLE repair ADD COLUMN approved INTEGER NOT NULL DEFAULT 0;

CREATE INDEX repair_unasked ON repair (begun_at, size, declared) WHERE approved = 0;
