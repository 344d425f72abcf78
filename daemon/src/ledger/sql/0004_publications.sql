-- Manifests of this site that are, or are to be, in Rucio.
CREATE TABLE publication (
    origin     BLOB NOT NULL,
    run        TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    content    TEXT NOT NULL,
    root       TEXT NOT NULL,
    scope      TEXT,              -- none: not read yet
    state      TEXT NOT NULL,
    files      INTEGER,           -- none: not counted yet
    files_done INTEGER NOT NULL,
    bytes      INTEGER,
    problem    TEXT,              -- why it does not go on
    hint       TEXT,
    ordered_by TEXT NOT NULL,
    ordered_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (run, origin, epoch, sequence)
) WITHOUT ROWID;

CREATE INDEX publication_standing ON publication (run, origin)
    WHERE state = 'published' AND content IN ('snapshot', 'removal');
CREATE INDEX publication_to_do ON publication (ordered_at) WHERE state = 'ordered';
