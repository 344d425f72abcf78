-- What messages have hinted at, until somebody has looked. The same hint heard again is the same row
-- under a new id: so who is done with the old one does not drop the new.
CREATE TABLE hint (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    rse      TEXT NOT NULL,     -- '': the message names none
    scope    TEXT NOT NULL,
    name     TEXT NOT NULL,
    detail   TEXT,              -- JSON
    heard_at INTEGER NOT NULL,
    tries    INTEGER NOT NULL,
    due      INTEGER NOT NULL
);

CREATE UNIQUE INDEX hint_same ON hint (kind, rse, scope, name);
CREATE INDEX hint_due ON hint (kind, due);

-- How many there are of each kind: nobody counts a million rows to find room for one.
CREATE TABLE hint_count (
    kind  TEXT PRIMARY KEY,
    hints INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER hint_comes AFTER INSERT ON hint BEGIN
    INSERT INTO hint_count (kind, hints) VALUES (new.kind, 1)
    ON CONFLICT DO UPDATE SET hints = hints + 1;
END;

CREATE TRIGGER hint_goes AFTER DELETE ON hint BEGIN
    UPDATE hint_count SET hints = hints - 1 WHERE kind = old.kind;
END;

ALTER TABLE meta ADD COLUMN hints_lost INTEGER NOT NULL DEFAULT 0;  -- grows with every hint lost

-- Messages that could not be read; the oldest are dropped.
CREATE TABLE poison (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT NOT NULL,
    size   INTEGER NOT NULL,    -- of the whole body, in bytes
    body   BLOB NOT NULL        -- its beginning
);
