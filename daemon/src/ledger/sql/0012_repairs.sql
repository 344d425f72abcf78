-- The site's watch: the newest time it has seen, and since when its clock has not leapt.
ALTER TABLE meta ADD COLUMN seen_at INTEGER;                   -- none: nothing was done yet
ALTER TABLE meta ADD COLUMN eras INTEGER NOT NULL DEFAULT 0;   -- leaps of the clock
ALTER TABLE meta ADD COLUMN era_since INTEGER;                 -- the time after the last leap; none: there was none
ALTER TABLE meta ADD COLUMN era_before INTEGER;                -- the time before it

-- Since when passes have seen the same, by a clock that did not leap meanwhile.
ALTER TABLE scan_finding ADD COLUMN era INTEGER NOT NULL DEFAULT -1;
ALTER TABLE scan_finding ADD COLUMN since INTEGER;
ALTER TABLE scan_finding ADD COLUMN since_scan INTEGER;        -- the pass that saw it then

-- What repairs are about to do, and have done.
CREATE TABLE repair (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    repair      BLOB NOT NULL,     -- UUID of the repair that it belongs to
    plan        TEXT NOT NULL,     -- the number of its plan
    root        TEXT NOT NULL,
    path        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    act         TEXT NOT NULL,
    detail      TEXT NOT NULL,     -- what was found, for people
    size        INTEGER,
    identity    TEXT,              -- JSON: the file that it is about
    aside       TEXT,              -- where it is moved to, in the root
    account     TEXT NOT NULL,
    begun_at    INTEGER NOT NULL,
    done_at     INTEGER,           -- none: it is not known to be done
    declared    TEXT,              -- what its replica was declared to Rucio to be
    restored_at INTEGER            -- when its file was brought back
);

CREATE INDEX repair_begun ON repair (root, path) WHERE done_at IS NULL;
CREATE INDEX repair_aside ON repair (root, path) WHERE aside IS NOT NULL AND restored_at IS NULL;
