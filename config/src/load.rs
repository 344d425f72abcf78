//! Turns a file into a site, or into everything that is wrong with it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::problem::{self, Problem};
use crate::raw::Document;
use crate::site::Site;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can be read, and this is wrong with it.
    #[error("{}", Report(file, problems))]
    Problems {
        /// The file.
        file: PathBuf,
        /// At least one problem, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// Loads the configuration in `path`, and the public keys in the folder that it names.
///
/// The signing key is not read here: most commands do not need it.
pub fn load(path: &Path) -> Result<Site, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        file: path.to_owned(),
        source,
    };
    let file = std::path::absolute(path).map_err(unreadable)?;
    let text = std::fs::read_to_string(&file).map_err(unreadable)?;
    parse(&file, &text).map_err(|problems| LoadError::Problems { file, problems })
}

impl LoadError {
    /// Problems that a look at the world around the file found, told like those within it: each
    /// without a line gets that of its key.
    pub fn around(file: &Path, mut problems: Vec<Problem>) -> Self {
        // Where the file cannot be read again, keys without lines must do.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let document = Document::parse(&text);
        for problem in &mut problems {
            problem.line = problem.line.or_else(|| document.line(&problem.key));
        }
        problem::sort(&mut problems);
        let file = file.to_owned();
        Self::Problems { file, problems }
    }
}

/// Reads `text` as the file `file`, which must be absolute.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Site, Vec<Problem>> {
    let document = Document::parse(text);
    // What is read around broken syntax is guesswork, and so would be its problems.
    let site = document.is_toml().then(|| Site::read(&document, file));
    match (site.flatten(), document.into_problems()) {
        (Some(site), problems) if problems.is_empty() => Ok(site),
        (_, problems) => Err(problems),
    }
}

struct Report<'r>(&'r Path, &'r [Problem]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, problems) = self;
        let s = if problems.len() == 1 { "" } else { "s" };
        let count = problems.len();
        write!(f, "{} has {count} problem{s}", file.display())?;
        problems
            .iter()
            .try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/etc/runsync/site.toml";

    fn problems(text: &str) -> String {
        let file = PathBuf::from(FILE);
        let problems = parse(&file, text).unwrap_err();
        LoadError::Problems { file, problems }.to_string()
    }

    #[test]
    fn a_short_file_is_enough() {
        let text = "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'";
        let site = parse(Path::new(FILE), text).unwrap();
        assert_eq!(site.state_directory, Path::new("/etc/runsync/state"));
        assert_eq!(
            site.signing_key_file,
            Path::new("/etc/runsync/keys/signing.pem")
        );
        let own = "u/a/run".parse().unwrap();
        assert!(site.may_own(&own));
    }

    #[test]
    fn what_is_shown_loads_to_the_same() {
        let text = "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'\nsettle = '90s'
            [[peer]]\nsite = 'B'\norigin = '7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11'
            run_prefixes = ['u/b']\n[limits]\nline_bytes_max = '1000B'
            [http]\nlisten = '[::1]:9610'\ncertificate_file = 'c'\nprivate_key_file = 'k'
            [[http.token]]\nname = 't'\nrole = 'operate'\nfile = 'token'";
        let site = parse(Path::new(FILE), text).unwrap();
        let shown = toml::to_string(&site).unwrap();
        assert_eq!(parse(Path::new(FILE), &shown).unwrap(), site, "{shown}");
    }

    #[test]
    fn a_run_is_owned_by_its_peer_at_whole_parts_of_its_name() {
        let text = "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'
            [[peer]]\nsite = 'B'\norigin = '7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11'
            run_prefixes = ['u/b']";
        let site = parse(Path::new(FILE), text).unwrap();
        for (run, ours) in [("u/b", false), ("u/b/x", false), ("u/bc", true)] {
            assert_eq!(site.may_own(&run.parse().unwrap()), ours, "{run}");
        }
    }

    #[test]
    fn an_empty_file_lacks_a_site_and_a_root() {
        insta::assert_snapshot!(problems(""), @r#"
        /etc/runsync/site.toml has 2 problems
        `site.name` is missing
          hint: add `name = "SITE_A"`
        `root` is missing: a site has at least one datastore root
          hint: add `[[root]]` with `name` and `url`
        "#);
    }

    #[test]
    fn an_empty_list_of_roots_is_as_good_as_none() {
        let problems = parse(Path::new(FILE), "root = []\nsite.name = 'A'").unwrap_err();
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn every_error_of_syntax_is_told_and_nothing_guessed_around_it() {
        insta::assert_snapshot!(problems("[site\nname = \"A\n[log]\nformat = = 1\n"), @r#"
        /etc/runsync/site.toml has 3 problems
        line 1: the file is not TOML: unclosed table, expected `]`
        line 4: the file is not TOML: extra `=`, expected nothing
        line 4: the file is not TOML: unexpected key or value, expected newline, `#`
        "#);
    }

    #[test]
    fn all_problems_of_values_are_told_at_once() {
        let text = r#"
[site]
nmae = "SITE_A"
run_prefixes = ["u/a", "u//b", 7]
[registry]
backend = "mysql"
[[root]]
name = "1st"
url = "s3://bucket/data"
confirm = "sizes"
events = "yes"
sweep_interval = 600
settle = "10"
watched_directories_max = -1
confirm_threads = 0
[[root]]
urls = "file:///data"
[[peer]]
site = "SITE/B"
origin = "no-uuid"
run_prefixes = []
[limits]
line_bytes_max = 64
packed_bytes_max = "lots"
zstd_window_log_max = 40
[http]
operators = ["alice bob"]
listen = "localhost"
connections_max = 0
certificate_file = "tls.pem"
[[http.token]]
name = "t"
role = "admin"
[logs]
format = "human"
[log]
format = "xml"
filter = ["info"]
"#;
        insta::assert_snapshot!(problems(text), @r#"
        /etc/runsync/site.toml has 31 problems
        line 2: `site.name` is missing
          hint: add `name = "SITE_A"`
        line 3: `site.nmae` is not a key here
          hint: did you mean `name`?
        line 4: `site.run_prefixes[1]` is refused: run-name prefix name `u//b` has an empty part
        line 4: `site.run_prefixes[2]` must be a string with the start of run names, not a whole number
        line 6: `registry.backend` must be `sqlite`, the one backend of this version
        line 8: `root[0].name` is refused: a root's name starts with a letter and holds at most 64 letters, digits, `_` and `-`
        line 9: `root[0].url` has the scheme `s3`, which this version cannot serve
          hint: a root is a folder: "file:///data/site_a"
        line 10: `root[0].confirm` must be one of `trust`, `size`, `checksum`
        line 11: `root[0].events` must be true or false, not a string
        line 12: `root[0].sweep_interval` must be a string with a duration, not a whole number
          hint: a duration carries its unit, such as "10s", "5min", "24h" or "7days"
        line 13: `root[0].settle` is no duration: time unit needed, for example 10sec or 10ms
          hint: a duration carries its unit, such as "10s", "5min", "24h" or "7days"
        line 14: `root[0].watched_directories_max` must be from 0 to 18446744073709551615
        line 15: `root[0].confirm_threads` must be at least 1
        line 16: `root[1].name` is missing
          hint: add `name = "main"`
        line 16: `root[1].url` is missing
          hint: add `url = "file:///data/site_a"`
        line 17: `root[1].urls` is not a key here
          hint: did you mean `url`?
        line 19: `peer[0].site` is refused: site name `SITE/B` holds a `/`
        line 20: `peer[0].origin` is refused: repository name `no-uuid` is not a UUID
        line 21: `peer[0].run_prefixes` must name at least one prefix
          hint: name the runs that this peer may own, such as ["u/b"]
        line 23: `limits.line_bytes_max` must be a string with a size, not a whole number
          hint: a size carries its unit, such as "512B", "64KiB", "10MiB" or "1GB"
        line 24: `limits.packed_bytes_max` is no size
          hint: a size carries its unit, such as "512B", "64KiB", "10MiB" or "1GB"
        line 25: `limits.zstd_window_log_max` must be from 10 to 31
        line 27: `http.operators[0]` is refused: accounts are a user's name, `@` and a group's name, or `*`
        line 28: `http.listen` is no address
          hint: an address is an IP address and a port, such as "127.0.0.1:9610" or "[::1]:9610"
        line 29: `http.connections_max` must be more than 0
        line 30: `http.certificate_file` needs `private_key_file` beside it
        line 31: `http.token[0].file` is missing
          hint: add `file = "tokens/dashboard"`
        line 33: `http.token[0].role` must be one of `read`, `operate`
        line 34: `logs` is not a key here
          hint: did you mean `log`?
        line 37: `log.format` must be one of `human`, `json`, `journald`
        line 38: `log.filter` must be a string with text, not a list
        "#);
    }

    #[test]
    fn parts_that_disagree_are_told_with_both_places() {
        let text = r#"
[site]
name = "SITE_A"
run_prefixes = ["u/a"]
state_directory = "/data/a/state"
[[root]]
name = "main"
url = "file:///data/a"
[[root]]
name = "main"
url = "file:///data/a/inner"
[[root]]
name = "outer"
url = "file:///data"
[[root]]
name = "again"
url = "file:///data/a/"
[[peer]]
site = "SITE_A"
origin = "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11"
run_prefixes = ["u/a/x", "u/b"]
[[peer]]
site = "SITE_C"
origin = "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11"
run_prefixes = ["u/bc", "u"]
"#;
        insta::assert_snapshot!(problems(text), @r#"
        /etc/runsync/site.toml has 16 problems
        line 5: `site.state_directory` is /data/a/state, inside the datastore root `main`
          hint: what lies in a root may be carried to other sites: choose a folder outside
        line 10: `root[1].name` is the name `main`, as is `root[0].name`
        line 11: `root[1].url` lies inside the folder of root `main` (`root[0]`)
          hint: give each root a folder of its own
        line 14: `root[2].url` holds the folder of root `main` (`root[0]`)
          hint: give each root a folder of its own
        line 14: `root[2].url` holds the folder of root `main` (`root[1]`)
          hint: give each root a folder of its own
        line 17: `root[3].url` is the folder of root `main` (`root[0]`)
          hint: give each root a folder of its own
        line 17: `root[3].url` holds the folder of root `main` (`root[1]`)
          hint: give each root a folder of its own
        line 17: `root[3].url` lies inside the folder of root `outer` (`root[2]`)
          hint: give each root a folder of its own
        line 19: `peer[0].site` is the site `SITE_A`, as is `site.name`
        line 21: `peer[0].run_prefixes` holds `u/a/x`, which overlaps `u/a` of `site.run_prefixes`
          hint: a run may have one owner only: choose prefixes that exclude each other
        line 24: `peer[1].origin` is the origin `7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11`, as is `peer[0].origin`
        line 25: `peer[1].run_prefixes` holds `u`, which overlaps `u/a` of `site.run_prefixes`
          hint: a run may have one owner only: choose prefixes that exclude each other
        line 25: `peer[1].run_prefixes` holds `u`, which overlaps `u/a/x` of `peer[0].run_prefixes`
          hint: a run may have one owner only: choose prefixes that exclude each other
        line 25: `peer[1].run_prefixes` holds `u`, which overlaps `u/b` of `peer[0].run_prefixes`
          hint: a run may have one owner only: choose prefixes that exclude each other
        `registry.file` is /data/a/state/registry.sqlite3, inside the datastore root `main`
          hint: what lies in a root may be carried to other sites: choose a folder outside
        `http.socket` is /data/a/state/runsync.sock, inside the datastore root `main`
          hint: what lies in a root may be carried to other sites: choose a folder outside
        "#);
    }

    #[test]
    fn a_surface_that_would_be_open_or_out_of_reach_is_told() {
        let socket = "x".repeat(120);
        let text = format!(
            "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'
            [http]\nlisten = '0.0.0.0:9610'\nsocket = '/run/{socket}'"
        );
        insta::assert_snapshot!(problems(&text), @r#"
        /etc/runsync/site.toml has 3 problems
        line 6: `http.listen` is reached from other machines, and there is no TLS
          hint: name `certificate_file` and `private_key_file`, or listen on 127.0.0.1
        line 6: `http.listen` lets nobody in: there is no token
          hint: add `[[http.token]]` with `name`, `role` and `file`
        line 7: `http.socket` has 125 bytes, and a socket's path at most 107
          hint: choose a shorter path, such as one below /run
        "#);
    }

    #[test]
    fn tables_of_the_wrong_shape_are_told() {
        insta::assert_snapshot!(problems("site = 'A'\n[root]\nname = 'main'\n[peer]\n"), @r#"
        /etc/runsync/site.toml has 4 problems
        line 1: `site` must be a table, not a string
          hint: write `[site]`
        line 1: `site.name` is missing
          hint: add `name = "SITE_A"`
        line 2: `root` must be tables, not a table
          hint: write `[[root]]`
        line 4: `peer` must be tables, not a table
          hint: write `[[peer]]`
        "#);
    }

    #[test]
    fn a_missing_file_is_unreadable() {
        let error = load(Path::new("/nonexistent/site.toml")).unwrap_err();
        let text = "cannot read the configuration file /nonexistent/site.toml";
        assert_eq!(error.to_string(), text);
    }
}
