-- What origins have removed, what this site does not want, and what is still to be told.

-- Removals by its origin up to this generation were carried out here.
ALTER TABLE run ADD COLUMN followed_epoch INTEGER;
ALTER TABLE run ADD COLUMN followed_sequence INTEGER;

-- Datasets of a run that its origin leaves out: a part of it, as `hidden` with dataset type -1 names
-- it. Listed before the removal is committed, and of no meaning until then.
CREATE TABLE omitted (
    run_id INTEGER NOT NULL,
    uuid   BLOB NOT NULL,
    PRIMARY KEY (run_id, uuid)
) WITHOUT ROWID;

-- Removal manifests that are committed and not written yet.
CREATE TABLE notice (
    manifest   BLOB PRIMARY KEY,   -- UUID
    run_id     INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    created_at INTEGER NOT NULL    -- nanoseconds since 1970 (UTC)
) WITHOUT ROWID;

-- Parts of runs whose artifacts this site does not want until they are restored.
CREATE TABLE unwanted (
    run_id          INTEGER NOT NULL,
    dataset_type_id INTEGER NOT NULL,  -- 0: every type
    account         TEXT NOT NULL,
    since           INTEGER NOT NULL,  -- nanoseconds since 1970 (UTC)
    PRIMARY KEY (run_id, dataset_type_id)
) WITHOUT ROWID;

-- Parts that are being restored: their claims wait again, up to a UUID.
CREATE TABLE restoring (
    run_id          INTEGER NOT NULL,
    dataset_type_id INTEGER NOT NULL,
    restored_to     BLOB NOT NULL,
    PRIMARY KEY (run_id, dataset_type_id)
) WITHOUT ROWID;

-- Until when artifacts that were not there may still arrive and are deleted; none: no longer.
ALTER TABLE removal_journal ADD COLUMN late_until INTEGER;

-- From here on `record.confirmed` is 0 where an artifact is waited for, 1 where it is confirmed,
-- and 2 where it is neither: unstored, or forgotten.

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
            AND (hidden.dataset_type_id IN (0, dataset.dataset_type_id)
                OR hidden.dataset_type_id = -1 AND EXISTS (
                    SELECT 1 FROM omitted WHERE omitted.run_id = dataset.run_id
                        AND omitted.uuid = dataset.uuid))
    );
