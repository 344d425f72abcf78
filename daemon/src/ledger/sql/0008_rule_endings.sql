-- Runs whose rules this site has to end in Rucio: each row is gone once it is met.
CREATE TABLE rule_ending (
    origin     BLOB NOT NULL,
    run        TEXT NOT NULL,
    scope      TEXT NOT NULL,
    rse        TEXT NOT NULL,      -- empty: wherever; else only rules for this RSE alone
    epoch      INTEGER,            -- none: all of the run; else what it was up to this generation
    sequence   INTEGER,
    at_once    INTEGER NOT NULL,   -- 0: once the removal manifest is where manifests go
    state      TEXT NOT NULL,
    ended      INTEGER NOT NULL,
    waits_for  TEXT NOT NULL,      -- JSON: names of RSEs
    holders    TEXT NOT NULL,      -- JSON: rules of others
    problem    TEXT,
    hint       TEXT,
    since      INTEGER NOT NULL,   -- nanoseconds since 1970 (UTC)
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (run, origin, scope, rse)
) WITHOUT ROWID;
