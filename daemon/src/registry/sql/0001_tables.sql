-- The registry's tables. Those with a row for each dataset are WITHOUT ROWID, and each is
-- written in the order of its own primary key, which makes a bulk load several times as fast.

CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    registry BLOB NOT NULL,    -- the registry's own UUID
    changes  INTEGER NOT NULL  -- grows with every commit
);

CREATE TABLE root (
    root_id INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE
);

CREATE TABLE formatter (
    formatter_id INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE
);

-- A run's row is permanent. Its counters change with the rows they count, in one transaction.
CREATE TABLE run (
    run_id         INTEGER PRIMARY KEY,
    name           TEXT NOT NULL,
    origin         BLOB NOT NULL,
    epoch          INTEGER,    -- highest generation registered, with `sequence`
    sequence       INTEGER,
    floor_epoch    INTEGER,    -- manifests at or below it are superseded
    floor_sequence INTEGER,
    datasets       INTEGER NOT NULL DEFAULT 0,
    claims         INTEGER NOT NULL DEFAULT 0,
    waiting        INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, origin)
);

CREATE TABLE dataset_type (
    dataset_type_id INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    dimensions      TEXT NOT NULL,  -- sorted JSON array
    storage_class   TEXT NOT NULL,
    is_calibration  INTEGER NOT NULL
);

CREATE TABLE dimension_record (
    element TEXT NOT NULL,
    key     TEXT NOT NULL,  -- canonical data ID over the element's required dimensions
    record  TEXT NOT NULL,  -- canonical JSON
    PRIMARY KEY (element, key)
) WITHOUT ROWID;

CREATE TABLE dataset (
    uuid            BLOB NOT NULL PRIMARY KEY,
    run_id          INTEGER NOT NULL,
    dataset_type_id INTEGER NOT NULL,
    data_id         TEXT NOT NULL,     -- canonical JSON
    epoch           INTEGER NOT NULL,  -- highest generation that names it, with `sequence`
    sequence        INTEGER NOT NULL
) WITHOUT ROWID;

-- As a WITHOUT ROWID table's index it ends in the primary key: a run's datasets by UUID.
CREATE INDEX dataset_by_run ON dataset (run_id);

-- Written before `dataset`: a row whose dataset is not there counts for nothing.
CREATE TABLE dataset_by_data_id (
    run_id          INTEGER NOT NULL,
    dataset_type_id INTEGER NOT NULL,
    data_id         TEXT NOT NULL,
    uuid            BLOB NOT NULL,
    PRIMARY KEY (run_id, dataset_type_id, data_id)
) WITHOUT ROWID;

-- A claim on an artifact, and once it is confirmed a datastore record.
CREATE TABLE record (
    uuid         BLOB NOT NULL,
    component    TEXT NOT NULL,  -- empty for the whole dataset
    root_id      INTEGER NOT NULL,
    path         TEXT NOT NULL,
    size         INTEGER NOT NULL,
    adler32      INTEGER NOT NULL,
    md5          BLOB,
    sha256       BLOB,
    formatter_id INTEGER,
    confirmed    INTEGER NOT NULL,
    PRIMARY KEY (uuid, component)
) WITHOUT ROWID;

-- Written before `record`: a row whose record is not there counts for nothing. The path leads
-- the key because comparing keys is most of the cost of an insert, and it differs soonest.
CREATE TABLE record_by_path (
    root_id   INTEGER NOT NULL,
    path      TEXT NOT NULL,
    uuid      BLOB NOT NULL,
    component TEXT NOT NULL,
    PRIMARY KEY (path, root_id, uuid, component)
) WITHOUT ROWID;

-- Paths at which a run has records that are not confirmed.
CREATE TABLE waiting (
    run_id  INTEGER NOT NULL,
    root_id INTEGER NOT NULL,
    path    TEXT NOT NULL,
    PRIMARY KEY (run_id, root_id, path)
) WITHOUT ROWID;

-- How far a registration of more than one commit has come.
CREATE TABLE registering (
    run_id            INTEGER NOT NULL,
    epoch             INTEGER NOT NULL,
    sequence          INTEGER NOT NULL,
    digest            BLOB NOT NULL,
    stage             INTEGER NOT NULL,
    rows_done         INTEGER NOT NULL,  -- of the stage, in its own order
    claims_done       INTEGER NOT NULL,  -- all stages taken together, for people
    claims            INTEGER NOT NULL,
    overlaps          INTEGER NOT NULL,  -- whether rows must be compared with registered ones
    datasets_added    INTEGER NOT NULL,
    artifacts_waiting INTEGER NOT NULL,
    PRIMARY KEY (run_id, epoch, sequence, digest)
) WITHOUT ROWID;

-- For SQL from outside; docs/REGISTRY.md describes it column by column.
CREATE VIEW datastore_records AS
SELECT
    lower(substr(hex(record.uuid), 1, 8) || '-' || substr(hex(record.uuid), 9, 4) || '-'
        || substr(hex(record.uuid), 13, 4) || '-' || substr(hex(record.uuid), 17, 4) || '-'
        || substr(hex(record.uuid), 21)) AS uuid,
    dataset_type.name AS dataset_type,
    run.name AS run,
    lower(substr(hex(run.origin), 1, 8) || '-' || substr(hex(run.origin), 9, 4) || '-'
        || substr(hex(run.origin), 13, 4) || '-' || substr(hex(run.origin), 17, 4) || '-'
        || substr(hex(run.origin), 21)) AS origin,
    dataset.data_id AS data_id,
    record.component AS component,
    root.name AS root,
    record.path AS path,
    record.size AS size,
    printf('%08x', record.adler32) AS adler32,
    nullif(lower(hex(record.md5)), '') AS md5,
    nullif(lower(hex(record.sha256)), '') AS sha256,
    formatter.name AS formatter
FROM record
JOIN dataset ON dataset.uuid = record.uuid
JOIN dataset_type ON dataset_type.dataset_type_id = dataset.dataset_type_id
JOIN run ON run.run_id = dataset.run_id
JOIN root ON root.root_id = record.root_id
LEFT JOIN formatter ON formatter.formatter_id = record.formatter_id
WHERE record.confirmed = 1;
