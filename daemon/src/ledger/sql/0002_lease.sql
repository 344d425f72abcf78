-- Fencing, and who holds the site's lease. The highest number given is the fence in `meta`.

ALTER TABLE meta ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;  -- no write under a lower one

CREATE TABLE lease (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    beat     INTEGER NOT NULL,  -- grows with every change of the row
    holder   TEXT               -- JSON; NULL where nobody holds it
);

INSERT INTO lease (only_row, beat, holder) VALUES (1, 0, NULL);
