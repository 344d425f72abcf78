-- The ledger's tables. Times are nanoseconds since 1970 (UTC).

CREATE TABLE meta (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    forgotten INTEGER NOT NULL  -- grows with every manifest row forgotten
);

-- Every manifest file seen. From `manifest` on: what it is, where it could be read that far.
CREATE TABLE manifest (
    root        TEXT NOT NULL,
    path        TEXT NOT NULL,
    size        INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT,
    hint        TEXT,
    blocker     TEXT,              -- JSON
    first_seen  INTEGER NOT NULL,
    decided_at  INTEGER NOT NULL,
    manifest    BLOB,
    content     TEXT,
    origin      BLOB,
    run         TEXT,
    site        TEXT,
    epoch       INTEGER,
    sequence    INTEGER,
    digest      BLOB,
    key_id      BLOB,
    datasets    INTEGER,
    total_bytes INTEGER,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;

CREATE INDEX manifest_by_state ON manifest (state, decided_at);
CREATE INDEX manifest_by_run ON manifest (run, origin, epoch, sequence) WHERE run IS NOT NULL;

-- The first manifest accepted as each generation of a run; never replaced.
CREATE TABLE accepted (
    origin   BLOB NOT NULL,
    run      TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (origin, run, epoch, sequence)
) WITHOUT ROWID;

CREATE TABLE finding (
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- When a sweep of a root last went through.
CREATE TABLE sweep (
    root TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) WITHOUT ROWID;
