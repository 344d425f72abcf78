-- Whether the rules of a removed run end in Rucio at once, and not only when its removal manifest has
-- arrived wherever manifests go.
ALTER TABLE notice ADD COLUMN at_once INTEGER NOT NULL DEFAULT 0;
