-- Jobs that are done by schedule: when each was done last, and what came of it.
CREATE TABLE job (
    name         TEXT NOT NULL PRIMARY KEY,
    mark         INTEGER NOT NULL,  -- its times up to this one are done with, or not to be done
    begun_at     INTEGER,
    ended_at     INTEGER,           -- before begun_at: it is under way, or broke off
    outcome      TEXT,
    detail       TEXT,              -- for people
    succeeded_at INTEGER,
    runs         INTEGER NOT NULL,  -- that ended, whatever came of them
    failures     INTEGER NOT NULL
) WITHOUT ROWID;

-- The last pass that went through: when it began, since which all has been seen, and how much that was.
ALTER TABLE scan ADD COLUMN whole_begun_at INTEGER;
ALTER TABLE scan ADD COLUMN whole_objects INTEGER;

-- The run that drift belongs to: one that names the path, else the one below whose name it lies.
ALTER TABLE scan_finding ADD COLUMN run TEXT;

CREATE INDEX scan_finding_by_run ON scan_finding (root, run);
