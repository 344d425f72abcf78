-- Collections of people: chains of runs and collections, and sets of tagged datasets. Runs have
-- tables of their own; a name is of one collection or of runs.

CREATE TABLE collection (
    collection_id INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,     -- tagged, chained
    owner         TEXT NOT NULL,     -- the account that made it
    hidden        INTEGER NOT NULL   -- whether lists leave it out
);

-- A place in a chain: exactly one of run_id, collection_id and deleted is there.
CREATE TABLE chain_member (
    chain_id      INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    run_id        INTEGER,
    collection_id INTEGER,
    deleted       TEXT,              -- name of what was here
    PRIMARY KEY (chain_id, position)
) WITHOUT ROWID;

CREATE INDEX chain_member_by_run ON chain_member (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX chain_member_by_collection ON chain_member (collection_id)
    WHERE collection_id IS NOT NULL;
CREATE INDEX chain_member_deleted ON chain_member (chain_id) WHERE deleted IS NOT NULL;

-- A tag goes with its dataset.
CREATE TABLE tag (
    collection_id INTEGER NOT NULL,
    run_id        INTEGER NOT NULL,  -- the dataset's
    uuid          BLOB NOT NULL,
    PRIMARY KEY (collection_id, run_id, uuid)
) WITHOUT ROWID;

CREATE INDEX tag_by_run ON tag (run_id, uuid);

ALTER TABLE run ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN owner TEXT;
