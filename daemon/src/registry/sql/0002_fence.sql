-- The fence under which the registry was last opened: no write under a lower one.

ALTER TABLE meta ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
