-- Claims that wait for their artifact, with all that it is compared with: a page of what is
-- waited for is read from here alone, in order, without a search for each record. A row goes
-- when its claim is confirmed.

CREATE TABLE waiting_claim (
    run_id    INTEGER NOT NULL,
    root_id   INTEGER NOT NULL,
    path      TEXT NOT NULL,
    uuid      BLOB NOT NULL,
    component TEXT NOT NULL,
    size      INTEGER NOT NULL,
    adler32   INTEGER NOT NULL,
    md5       BLOB,
    sha256    BLOB,
    PRIMARY KEY (run_id, root_id, path, uuid, component)
) WITHOUT ROWID;

INSERT INTO waiting_claim
SELECT waiting.run_id, waiting.root_id, waiting.path, record.uuid, record.component,
    record.size, record.adler32, record.md5, record.sha256
FROM waiting
CROSS JOIN record_by_path AS by_path
    ON by_path.path = waiting.path AND by_path.root_id = waiting.root_id
CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
    AND record.root_id = by_path.root_id AND record.path = by_path.path
CROSS JOIN dataset ON dataset.uuid = record.uuid AND dataset.run_id = waiting.run_id
WHERE record.confirmed = 0;

DROP TABLE waiting;

ALTER TABLE waiting_claim RENAME TO waiting;
