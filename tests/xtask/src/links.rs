//! Links between documents: each must lead to something that is in the repository.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::out::{grouped, say};
use crate::{files, process, workspace};

/// Fails where a relative link of a document leads nowhere, and names all such links.
pub(crate) fn check() -> Result<()> {
    let tracked = tracked()?;
    let (mut links, mut broken) = (0, Vec::new());
    for document in tracked.iter().filter(|path| is_markdown(path)) {
        let text = files::read(&workspace::root().join(document))?;
        for target in relative_links(&text) {
            links += 1;
            if !leads_somewhere(document, &target, &tracked) {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    // A clone without documents, or a reader of links that finds none, checks nothing.
    ensure!(links > 0, "no document has a relative link");
    if broken.is_empty() {
        say!("{} links between documents lead somewhere", grouped(links));
        return Ok(());
    }
    bail!(
        "these links lead to nothing that git tracks:\n  {}",
        broken.join("\n  ")
    )
}

/// Files in git, relative to the workspace: others would be missing from a clone.
fn tracked() -> Result<BTreeSet<PathBuf>> {
    let mut list = Command::new("git");
    list.current_dir(workspace::root()).args(["ls-files", "-z"]);
    let list = process::output(&mut list)?;
    let names = String::from_utf8(list)?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Targets of links to files, without their fragments. Code is no link.
fn relative_links(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            links.extend(targets(&without_code(line)));
        }
    }
    links.retain(|target| !target.is_empty() && !has_scheme(target));
    links
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// What follows `](` in a line, or the colon of a line `[name]: target`.
fn targets(line: &str) -> Vec<String> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let defined = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "));
    inline
        .map(|(target, _)| target)
        .chain(defined.map(|(_, target)| target))
        .filter_map(|target| target.split([' ', '#']).next())
        .map(str::to_owned)
        .collect()
}

fn has_scheme(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// Whether a target is a tracked file, or a folder that holds one.
fn leads_somewhere(document: &Path, target: &str, tracked: &BTreeSet<PathBuf>) -> bool {
    let folder = document.parent().unwrap_or(Path::new(""));
    let Some(path) = normalised(&folder.join(target)) else {
        return false;
    };
    tracked.iter().any(|file| file.starts_with(&path))
}

/// The path without `.` and `..`; `None` where it leaves the repository.
fn normalised(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_and_code_is_not() {
        let document = "[a](a.md) and [`b`](../b/#part), [c]( https://c.example/ ), `[d](d.md)`\n\
                        [e](#here) [f](https://f.example/x.md)\n\
                        ```sh\n[g](g.md)\n```\n\
                        [h]: docs/h.md \"title\"\n";
        assert_eq!(relative_links(document), ["a.md", "../b/", "docs/h.md"]);
    }

    #[test]
    fn a_link_to_what_is_not_tracked_leads_nowhere() {
        let tracked = ["README.md", "docs/a.md", "docs/decisions/1.md"];
        let tracked = tracked.into_iter().map(PathBuf::from).collect();
        let from =
            |document: &str, target: &str| leads_somewhere(Path::new(document), target, &tracked);
        assert!(from("README.md", "docs/a.md"));
        assert!(from("README.md", "docs/decisions/"));
        assert!(from("docs/a.md", "../README.md"));
        assert!(from("docs/decisions/1.md", "../a.md"));
        assert!(!from("README.md", "docs/b.md"));
        assert!(!from("README.md", "docs/decisions/2.md"));
        assert!(!from("docs/a.md", "README.md"));
        assert!(!from("docs/a.md", "../../README.md"));
        assert!(!from("README.md", "/docs/a.md"));
    }
}
