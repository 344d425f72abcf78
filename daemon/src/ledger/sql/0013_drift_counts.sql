-- How many findings there are: asked for with every scrape of the metrics, and at the end of every scan.
CREATE TABLE drift_count (
    root    TEXT NOT NULL,
    side    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    ignored INTEGER NOT NULL,  -- whether they are to be left out
    count   INTEGER NOT NULL,
    PRIMARY KEY (root, side, kind, ignored)
) WITHOUT ROWID;

INSERT INTO drift_count
    SELECT root, side, kind, ignored_by IS NOT NULL, count(*) FROM scan_finding GROUP BY 1, 2, 3, 4;

-- Findings come, change and go in several ways, and each is counted.
CREATE TRIGGER scan_finding_comes AFTER INSERT ON scan_finding BEGIN
    INSERT INTO drift_count VALUES (new.root, new.side, new.kind, new.ignored_by IS NOT NULL, 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER scan_finding_goes AFTER DELETE ON scan_finding BEGIN
    UPDATE drift_count SET count = count - 1 WHERE root = old.root AND side = old.side AND kind = old.kind
        AND ignored = (old.ignored_by IS NOT NULL);
END;

CREATE TRIGGER scan_finding_changes AFTER UPDATE ON scan_finding
WHEN old.kind <> new.kind OR (old.ignored_by IS NULL) <> (new.ignored_by IS NULL) BEGIN
    UPDATE drift_count SET count = count - 1 WHERE root = old.root AND side = old.side AND kind = old.kind
        AND ignored = (old.ignored_by IS NOT NULL);
    INSERT INTO drift_count VALUES (new.root, new.side, new.kind, new.ignored_by IS NOT NULL, 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
END;

-- Nothing is read by these any more.
DROP INDEX scan_finding_by_kind;
DROP INDEX scan_finding_by_run;
