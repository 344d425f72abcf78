-- How far scans have come, for each root and part of it that is scanned.
CREATE TABLE scan (
    root        TEXT NOT NULL,
    scope       TEXT NOT NULL,     -- empty: all of the root; else a folder of it
    number      INTEGER NOT NULL,  -- of the pass under way, or the last one
    position    TEXT,              -- all before this path is done; none: no pass is under way
    begun_at    INTEGER NOT NULL,
    tried_at    INTEGER NOT NULL,
    finished_at INTEGER,           -- when a pass last went through
    counts      TEXT NOT NULL,     -- JSON: what the pass has seen so far
    PRIMARY KEY (root, scope)
) WITHOUT ROWID;

ALTER TABLE meta ADD COLUMN scans INTEGER NOT NULL DEFAULT 0;  -- the number of the newest pass

-- Drift that scans saw, until one sees that it is gone.
CREATE TABLE scan_finding (
    root        TEXT NOT NULL,
    path        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    detail      TEXT NOT NULL,     -- for people
    size        INTEGER,           -- of the file, or of the record where there is none
    identity    TEXT,              -- JSON: the file that was seen; none: there was none
    claimed     INTEGER NOT NULL,  -- whether a dataset names the path
    folded      TEXT NOT NULL,     -- the path without what spellings differ in
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    times       INTEGER NOT NULL,  -- passes that saw it
    scan        INTEGER NOT NULL,  -- the newest of these
    ignored_by  TEXT,
    ignored_why TEXT,
    ignored_at  INTEGER,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;

CREATE INDEX scan_finding_by_folded ON scan_finding (root, folded);

-- Files of Rucio's that runsync gave a second name, by what both names have in common.
CREATE INDEX sync_name_by_inode ON sync_name (root, inode);
