-- What Rucio is told of replicas, written down before it is told: also where nothing more comes of it here. How many
-- is counted; by which repair and in which root is for people.
CREATE TABLE declaration (
    id          INTEGER PRIMARY KEY,
    repair      BLOB    NOT NULL,
    root        TEXT    NOT NULL,
    replicas    INTEGER NOT NULL,
    approved    INTEGER NOT NULL,
    declared_at INTEGER NOT NULL
) STRICT;

INSERT INTO declaration (repair, root, replicas, approved, declared_at)
    SELECT repair, root, count(*), approved, begun_at FROM repair
    WHERE declared IS NOT NULL GROUP BY repair, root, approved, begun_at;

CREATE INDEX declaration_unasked ON declaration (declared_at, replicas) WHERE approved = 0;

DROP INDEX repair_unasked;
CREATE INDEX repair_unasked ON repair (begun_at, size) WHERE approved = 0;
