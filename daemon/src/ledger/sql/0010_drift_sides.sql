-- A path may have one finding for each side of it that is gone through: the datastore, records that are asked of
-- Rucio, Rucio's replicas that are asked of the registry.
CREATE TABLE scan_finding_by_side (
    root        TEXT NOT NULL,
    path        TEXT NOT NULL,
    side        TEXT NOT NULL,     -- what was gone through
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
    PRIMARY KEY (root, path, side)
) WITHOUT ROWID;

INSERT INTO scan_finding_by_side
    SELECT root, path, 'datastore', kind, detail, size, identity, claimed, folded, first_seen, last_seen, times, scan,
           ignored_by, ignored_why, ignored_at
    FROM scan_finding;

DROP TABLE scan_finding;

ALTER TABLE scan_finding_by_side RENAME TO scan_finding;

CREATE INDEX scan_finding_by_folded ON scan_finding (root, folded);

-- What counts of findings are read from.
CREATE INDEX scan_finding_by_kind ON scan_finding (root, kind, ignored_by);
