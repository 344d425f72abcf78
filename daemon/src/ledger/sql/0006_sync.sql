-- How far asking Rucio what should be here has come, for each root that it knows.
CREATE TABLE sync_pass (
    root        TEXT NOT NULL PRIMARY KEY,
    cursor      TEXT,              -- JSON: where the pass under way goes on; none: no pass is under way
    begun_at    INTEGER,           -- when the pass under way began, or the last one
    finished_at INTEGER,           -- when a pass last went through
    tried_at    INTEGER,           -- when that was last tried
    problem     TEXT               -- why it did not go on then, for people
) WITHOUT ROWID;

-- What runsync did to files of a run because of Rucio.
CREATE TABLE sync_run (
    root      TEXT NOT NULL,
    run       TEXT NOT NULL,
    origin    BLOB NOT NULL,
    forgotten INTEGER NOT NULL,    -- whether artifacts were forgotten that Rucio had deleted
    PRIMARY KEY (root, run, origin)
) WITHOUT ROWID;

-- Names that runsync gave to files of Rucio's: they are its own to take away, and no others are.
CREATE TABLE sync_name (
    root  TEXT NOT NULL,
    path  TEXT NOT NULL,
    inode INTEGER NOT NULL,        -- of the file, as the bits of a signed number
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
