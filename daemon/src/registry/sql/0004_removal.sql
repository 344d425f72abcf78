-- What is on its way out. A removal is committed by its row here: whoever reads hides what
-- `hidden` names from then on. Rows are reaped afterwards, in chunks.

CREATE TABLE removal (
    removal_id   INTEGER PRIMARY KEY,
    removal      BLOB NOT NULL UNIQUE,  -- UUID, which its journals name too
    operation    TEXT NOT NULL,
    account      TEXT NOT NULL,
    committed_at INTEGER NOT NULL,      -- nanoseconds since 1970 (UTC)
    reapable     INTEGER NOT NULL       -- whether all artifacts that were there are gone
);

-- Roots in which the removal's journal is still open. Only the bytes that were committed count: a
-- journal that somebody has changed is not followed.
CREATE TABLE removal_journal (
    removal_id INTEGER NOT NULL,
    root_id    INTEGER NOT NULL,
    digest     BLOB NOT NULL,  -- SHA-256 of the journal to its last line
    PRIMARY KEY (removal_id, root_id)
) WITHOUT ROWID;

-- A row goes when the rows that it hides are gone.
CREATE TABLE hidden (
    run_id          INTEGER NOT NULL,
    dataset_type_id INTEGER NOT NULL,  -- 0: every type
    removal_id      INTEGER NOT NULL,
    datasets        INTEGER NOT NULL,  -- whether datasets go, or only their records
    reaped_to       BLOB NOT NULL,     -- UUID up to which rows are gone
    PRIMARY KEY (run_id, dataset_type_id)
) WITHOUT ROWID;

DROP VIEW datastore_records;

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
WHERE record.confirmed = 1
    AND NOT EXISTS (
        SELECT 1 FROM hidden WHERE hidden.run_id = dataset.run_id
            AND hidden.dataset_type_id IN (0, dataset.dataset_type_id)
    );
