//! Enforces the layers of `docs/ARCHITECTURE.md`: who may import whom.
//!
//! Reads every source file of the daemon as tokens (so that comments and strings do not
//! count), follows `crate::`, `super::` and, in the binary, `runsync::` paths to the top-level
//! module they name, and compares each step with the table below. What is compiled for tests
//! only is left out: a test may look anywhere.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a module may import beside the layers below its own.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// Modules of the same row that stand further right; flows only through their `mod.rs`.
    Rightward,
    /// None of its own row.
    Nothing,
    /// All of its own row, as long as no circle comes of it.
    Anything,
}

/// The layers, from the highest down.
const LAYERS: &[(Within, &[&str])] = &[
    (Within::Rightward, &["main", "cli", "http"]),
    (Within::Nothing, &["steward"]),
    (Within::Nothing, &["loops"]),
    (Within::Nothing, &["assembly"]),
    (Within::Nothing, &["service"]),
    (
        Within::Rightward,
        &[
            "recovery",
            "reconcile",
            "events",
            "adopt",
            "sync",
            "publish",
            "create",
            "ingest",
            "removal",
            "jobs",
        ],
    ),
    (
        Within::Nothing,
        &["registry", "ledger", "datastore", "rucio", "worker"],
    ),
    (
        Within::Anything,
        &[
            "lease",
            "durable",
            "clock",
            "telemetry",
            "file_identity",
            "embedded_json",
            "schema",
            "error_chain",
            "beside",
            "poison",
            "adopted",
            "sorting",
            "spelling",
            "tls",
            "sqlite",
            "disposition",
            "registration_lock",
        ],
    ),
];

/// External crates that only these modules may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("rusqlite", &["registry", "ledger", "sqlite"]),
    ("object_store", &["datastore"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("utoipa_axum", &["http"]),
    ("reqwest", &["http", "rucio"]),
    ("rdkafka", &["events"]),
];

#[test]
fn every_import_points_downward() {
    let files = source_files(&repository().join("daemon/src"));
    let faults = faults(&files);
    assert!(
        faults.is_empty(),
        "the layers of docs/ARCHITECTURE.md are broken:\n{}",
        faults.join("\n")
    );
}

#[test]
fn the_crates_beneath_import_only_what_they_may() {
    assert_eq!(our_dependencies("manifest"), BTreeSet::new());
    assert_eq!(
        our_dependencies("config"),
        BTreeSet::from(["runsync-manifest".to_owned()])
    );
    assert_eq!(
        our_dependencies("daemon"),
        BTreeSet::from(["runsync-config".to_owned(), "runsync-manifest".to_owned()])
    );
}

#[test]
fn the_check_sees_through_every_way_to_name_a_module() {
    let faults_of = |file: &str, source: &str| {
        faults(&[
            SourceFile::parse(file, source),
            SourceFile::parse("ingest/mod.rs", "mod verify;"),
            SourceFile::parse("ingest/verify.rs", ""),
        ])
    };
    for (file, source, broken) in [
        ("clock.rs", "use crate::registry::Registry;", 1),
        ("clock.rs", "// use crate::registry::Registry;", 0),
        ("clock.rs", "fn f() { g(\"crate::registry\") }", 0),
        (
            "clock.rs",
            "fn f() { info!(\"{}\", crate::cli::name()) }",
            1,
        ),
        (
            "clock.rs",
            "use crate::{durable, lease::Lease, cli::{run}};",
            1,
        ),
        ("clock.rs", "use super::registry;", 1),
        ("ledger/record.rs", "use super::super::registry::X;", 1),
        ("ledger/record.rs", "use super::registry;", 0),
        ("ledger/record.rs", "mod inner { use super::super::x; }", 0),
        (
            "ledger/record.rs",
            "#[cfg(test)] mod tests { use crate::cli::X; }",
            0,
        ),
        ("ledger/record.rs", "use rusqlite::Connection;", 0),
        (
            "removal/mod.rs",
            "fn f(c: &rusqlite::Connection) { x::rusqlite() }",
            1,
        ),
        ("publish/mod.rs", "use crate::ingest::Ingest;", 0),
        ("publish/mod.rs", "use crate::ingest::verify::Verified;", 1),
        ("removal/mod.rs", "use crate::ingest::Ingest;", 1),
        ("registry/mod.rs", "use crate::ledger::Ledger;", 1),
        ("main.rs", "use runsync::cli;", 0),
        ("cli/mod.rs", "use crate::main;", 1),
        ("novelty.rs", "", 1),
        ("clock.rs", "use crate::novelty::X;", 1),
    ] {
        let found = faults_of(file, source);
        assert_eq!(found.len(), broken, "{file}: {source}\n{found:#?}");
    }
}

#[test]
fn a_circle_within_the_lowest_layer_is_found() {
    let found = faults(&[
        SourceFile::parse("lease.rs", "use crate::clock::Clock;"),
        SourceFile::parse("clock.rs", "use crate::durable::write;"),
        SourceFile::parse("durable.rs", "use crate::lease::Lease;"),
    ]);
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// A source file of the daemon and what it names.
struct SourceFile {
    /// Path below `daemon/src`.
    path: PathBuf,
    /// Module path, such as `["ingest", "verify"]`; the binary is `["main"]`.
    module: Vec<String>,
    /// Paths in the crate that it names, from the crate's root, with their line.
    names: Vec<(usize, Vec<String>)>,
    /// External paths that it names (first segment), with their line.
    external: Vec<(usize, String)>,
    /// Modules that it declares for tests only.
    test_modules: Vec<Vec<String>>,
}

impl SourceFile {
    fn parse(path: &str, source: &str) -> Self {
        let mut file = Self {
            path: PathBuf::from(path),
            module: module_of(Path::new(path)),
            names: Vec::new(),
            external: Vec::new(),
            test_modules: Vec::new(),
        };
        let tokens = source
            .parse::<TokenStream>()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let within = if file.is_root() {
            Vec::new()
        } else {
            file.module.clone()
        };
        file.scan(tokens, &within);
        file
    }

    fn is_root(&self) -> bool {
        self.module.is_empty() || self.module == ["main"]
    }

    /// Scans tokens that stand in the module `within`.
    fn scan(&mut self, tokens: TokenStream, within: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_test_attribute(&tokens[at..]) {
                at = self.skip_test_item(&tokens, at + 2, within);
                continue;
            }
            match token {
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        let inner: Vec<String> =
                            within.iter().cloned().chain([name.to_string()]).collect();
                        self.scan(body.stream(), &inner);
                        at += 3;
                        continue;
                    }
                }
                TokenTree::Ident(word) if !follows_path_separator(&tokens, at) => {
                    let line = word.span().start().line;
                    let start = match word.to_string().as_str() {
                        "crate" => Some(Vec::new()),
                        "runsync" if self.module == ["main"] => Some(Vec::new()),
                        "super" => Some(parent(within)),
                        "self" => Some(within.to_vec()),
                        external if is_path_separator(&tokens[at + 1..]) => {
                            self.external.push((line, external.to_owned()));
                            None
                        }
                        "use" => {
                            // `use name;` and `use name as other;` name a crate without `::`.
                            if let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
                                && !is_path_separator(&tokens[at + 2..])
                            {
                                self.external.push((line, name.to_string()));
                            }
                            None
                        }
                        _ => None,
                    };
                    if let Some(start) = start
                        && is_path_separator(&tokens[at + 1..])
                    {
                        self.follow(&tokens[at + 3..], start, line);
                    }
                }
                TokenTree::Group(group) => self.scan(group.stream(), within),
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Follows a path after its `::`, into every branch of a `{…}`.
    fn follow(&mut self, tokens: &[TokenTree], mut path: Vec<String>, line: usize) {
        match tokens {
            [TokenTree::Ident(word), rest @ ..] => {
                if word == "super" {
                    path = parent(&path);
                } else if word != "self" {
                    path.push(word.to_string());
                }
                if is_path_separator(rest) {
                    self.follow(&rest[2..], path, line);
                } else {
                    self.names.push((line, path));
                }
            }
            [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in branches.split(|token| is_punct(token, ',')) {
                    self.follow(branch, path.clone(), line);
                }
            }
            _ => self.names.push((line, path)),
        }
    }

    /// Steps over the item below `#[cfg(test)]`, and remembers a module file it declares.
    fn skip_test_item(&mut self, tokens: &[TokenTree], from: usize, within: &[String]) -> usize {
        let mut at = from;
        while let Some(token) = tokens.get(at) {
            if let (TokenTree::Ident(word), Some(TokenTree::Ident(name))) =
                (token, tokens.get(at + 1))
                && word == "mod"
            {
                let module = within.iter().cloned().chain([name.to_string()]);
                self.test_modules.push(module.collect());
            }
            at += 1;
            let ends = is_punct(token, ';')
                || matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
            if ends {
                break;
            }
        }
        at
    }
}

fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    is_punct(hash, '#') && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

fn follows_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_path_separator(&tokens[at - 2..])
}

fn parent(module: &[String]) -> Vec<String> {
    module
        .split_last()
        .map(|(_, rest)| rest.to_vec())
        .unwrap_or_default()
}

/// `ingest/verify.rs` -> `["ingest", "verify"]`; `lib.rs` -> `[]`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Layer (0 is the lowest), place in its row, and rule of a top-level module.
fn place(module: &str) -> Option<(usize, usize, Within)> {
    LAYERS
        .iter()
        .rev()
        .enumerate()
        .find_map(|(layer, (within, row))| {
            let at = row.iter().position(|name| *name == module)?;
            Some((layer, at, *within))
        })
}

fn faults(files: &[SourceFile]) -> Vec<String> {
    let tests_only: Vec<&Vec<String>> = files.iter().flat_map(|f| &f.test_modules).collect();
    let shipped: Vec<&SourceFile> = files
        .iter()
        .filter(|file| !tests_only.iter().any(|test| file.module.starts_with(test)))
        .collect();
    let submodules: BTreeSet<&[String]> = shipped.iter().map(|f| f.module.as_slice()).collect();
    let mut faults = Vec::new();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &shipped {
        let Some(top) = file.module.first() else {
            continue;
        };
        for (line, name) in &file.external {
            if let Some((_, allowed)) = CONFINED.iter().find(|(confined, _)| confined == name)
                && !allowed.contains(&top.as_str())
            {
                faults.push(at(
                    file,
                    *line,
                    &format!("`{name}` may be named only in {}", allowed.join(", ")),
                ));
            }
        }
        let Some(from) = place(top) else {
            faults.push(at(file, 1, &unknown(top)));
            continue;
        };
        for (line, path) in &file.names {
            let Some(target) = path.first().filter(|target| *target != top) else {
                continue;
            };
            // An item of the crate's root (a macro, a re-export) is no module.
            let is_module = submodules.contains(&[target.clone()][..]);
            let Some(to) = place(target) else {
                if is_module || target.chars().all(|c| c.is_lowercase() || c == '_') {
                    faults.push(at(file, *line, &unknown(target)));
                }
                continue;
            };
            if let Some(reason) = refusal(from, to, path, &submodules) {
                faults.push(at(
                    file,
                    *line,
                    &format!("`{top}` may not import `{}`: {reason}", path.join("::")),
                ));
            }
            arrows.entry(top).or_default().insert(target);
        }
    }
    if let Some(circle) = circle(&arrows) {
        faults.push(format!("these modules import one another: {circle}"));
    }
    faults
}

fn refusal(
    from: (usize, usize, Within),
    to: (usize, usize, Within),
    path: &[String],
    submodules: &BTreeSet<&[String]>,
) -> Option<&'static str> {
    let ((from_layer, from_at, within), (to_layer, to_at, _)) = (from, to);
    if from_layer != to_layer {
        return (to_layer > from_layer).then_some("it stands in a higher layer");
    }
    match within {
        Within::Anything => None,
        Within::Nothing => Some("modules of this layer never import each other"),
        Within::Rightward if to_at < from_at => Some("within this layer, imports point rightward"),
        Within::Rightward => (path.len() > 2 && submodules.contains(&path[..2]))
            .then_some("within this layer, only through the other's mod.rs"),
    }
}

/// The first circle among top-level modules, as text.
fn circle(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    fn walk<'a>(
        at: &'a str,
        arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        way: &mut Vec<&'a str>,
    ) -> Option<String> {
        if let Some(start) = way.iter().position(|step| *step == at) {
            let mut text = way[start..].join(" -> ");
            let _infallible = write!(text, " -> {at}");
            return Some(text);
        }
        way.push(at);
        let found = arrows
            .get(at)
            .into_iter()
            .flatten()
            .find_map(|next| walk(next, arrows, way));
        way.pop();
        found
    }
    arrows
        .keys()
        .find_map(|start| walk(start, arrows, &mut Vec::new()))
}

fn at(file: &SourceFile, line: usize, what: &str) -> String {
    format!("daemon/src/{}:{line}: {what}", file.path.display())
}

fn unknown(module: &str) -> String {
    format!(
        "module `{module}` has no layer: give it one in tests/layers.rs and docs/ARCHITECTURE.md"
    )
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source_files(folder: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                files.push(SourceFile::parse(name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!files.is_empty(), "no sources below {}", folder.display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Which of our own crates a crate depends on, for whatever purpose.
fn our_dependencies(package: &str) -> BTreeSet<String> {
    let file = repository().join(package).join("Cargo.toml");
    let cargo: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|table| cargo.get(*table)?.as_table())
        .flat_map(|table| table.keys())
        .filter(|name| name.starts_with("runsync"))
        .cloned()
        .collect()
}
