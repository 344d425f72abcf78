//! Every guarantee of `docs/guarantees.md` is shown by a test, and that test exists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where tests are.
const FOLDERS: [&str; 4] = ["manifest", "config", "daemon", "tests"];

#[test]
fn every_guarantee_names_tests_that_exist() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(workspace.join("docs/guarantees.md")).unwrap();
    let functions = functions(workspace);
    let rows: Vec<Vec<&str>> = document.lines().filter_map(cells).collect();
    let mut named = 0;
    for row in &rows {
        let tests: Vec<&str> = quoted(row.last().unwrap()).collect();
        assert!(!tests.is_empty(), "no test shows: {}", row.join(" | "));
        for test in tests {
            assert!(functions.contains(test), "there is no test `{test}`");
            named += 1;
        }
    }
    assert!(
        named > 30,
        "only {named} tests found in the document: was its form changed?"
    );
}

/// The cells of a table's row; none for other lines, headings and rules.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let heading = cells.last() == Some(&"shown by");
    let rule = cells.iter().all(|cell| cell.chars().all(|c| c == '-'));
    (!heading && !rule).then_some(cells)
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Names of all functions in the source tree.
fn functions(workspace: &Path) -> BTreeSet<String> {
    let mut folders: Vec<PathBuf> = FOLDERS.map(|folder| workspace.join(folder)).into();
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(
                    fs::read_to_string(path)
                        .unwrap()
                        .lines()
                        .filter_map(function),
                );
            }
        }
    }
    names
}

/// The name of the function whose definition begins on this line.
fn function(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("pub(crate) ")
        .or(line.strip_prefix("pub(super) "))
        .unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
    Some(name.to_owned())
}
