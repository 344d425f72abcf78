//! The commented example, and the file that `init` makes of it.

use std::path::{Path, PathBuf};

use runsync_manifest::name::SiteName;

use crate::load::{LoadError, parse};
use crate::root::{self, ConfirmLevel};
use crate::site::Site;

/// The example: every key with what it is for, defaults commented out.
pub const EXAMPLE: &str = include_str!("../examples/site.toml");

/// What a new site's file says beside the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// The site's name.
    pub name: SiteName,
    /// The folder of its one root.
    pub root: PathBuf,
    /// How arrivals are confirmed there.
    pub confirm: ConfirmLevel,
    /// Where the service keeps its state.
    pub state_directory: PathBuf,
    /// Where the daemon's socket is to be; none: in the state directory.
    pub socket: Option<PathBuf>,
}

impl NewSite {
    /// The site that its file would configure if it stood at `config_file`, an absolute path.
    ///
    /// # Errors
    ///
    /// [`LoadError::Problems`] where something cannot be written into a configuration, such as a
    /// path with a `%`.
    pub fn site(&self, config_file: &Path) -> Result<Site, LoadError> {
        parse(config_file, &self.to_toml()).map_err(|problems| LoadError::Problems {
            file: config_file.to_owned(),
            problems,
        })
    }

    /// The text of its configuration file: the example with these values in place.
    pub fn to_toml(&self) -> String {
        let state_directory = quoted(&self.state_directory.to_string_lossy());
        let file = self.state_directory.join("registry.sqlite3");
        let confirm = match self.confirm {
            ConfirmLevel::Trust => "confirm = \"trust\"",
            ConfirmLevel::Size => "#confirm = \"size\"",
            ConfirmLevel::Checksum => "confirm = \"checksum\"",
        };
        let name = format!("name = {}", quoted(self.name.as_str()));
        let url = format!("url = {}", quoted(&root::url(&self.root)));
        let state_directory = format!("state_directory = {state_directory}");
        let file = format!("#file = {}", quoted(&file.to_string_lossy()));
        let default_socket = self.state_directory.join("runsync.sock");
        let socket = self.socket.as_ref().unwrap_or(&default_socket);
        let comment = if self.socket.is_some() { "" } else { "#" };
        let socket = format!("{comment}socket = {}", quoted(&socket.to_string_lossy()));
        let lines = EXAMPLE.lines().map(|line| match line {
            "name = \"SITE_A\"" => &name,
            "url = \"file:///data/site_a\"" => &url,
            "#state_directory = \"state\"" => &state_directory,
            "#file = \"state/registry.sqlite3\"" => &file,
            "#socket = \"state/runsync.sock\"" => &socket,
            "#confirm = \"size\"" => confirm,
            other => other,
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> &'static Path {
        Path::new("/etc/runsync/site.toml")
    }

    /// Takes the `#` from every line that is a setting at its default.
    fn with_defaults_written_out(text: &str) -> String {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    #[test]
    fn the_example_loads_as_it_stands() {
        let site = parse(file(), EXAMPLE).unwrap();
        assert_eq!(site.name.as_str(), "SITE_A");
        assert!(site.peers.is_empty());
    }

    #[test]
    fn what_the_example_comments_out_is_the_default() {
        let short = parse(file(), EXAMPLE).unwrap();
        let mut long = parse(file(), &with_defaults_written_out(EXAMPLE)).unwrap();
        // A peer, Rucio, sources of messages, an RSE, the bounds of confirming and what TCP needs have no default.
        assert_eq!(long.peers.drain(..).count(), 1);
        let root = long.roots.first_mut().unwrap();
        assert!(root.rse.take().is_some());
        assert!(root.pfn_prefix.take().is_some());
        assert!(long.rucio.take().is_some());
        assert!(long.adopt.take().is_some());
        assert_eq!(long.event_sources.drain(..).count(), 2);
        assert!(root.scan_period.take().is_some());
        assert_eq!(long.schedules.drain(..).count(), 1);
        assert!(root.confirm_files_per_second.take().is_some());
        assert!(root.confirm_bytes_per_second.take().is_some());
        assert!(long.http.listen.take().is_some() && long.http.tls.take().is_some());
        assert_eq!(long.http.tokens.drain(..).count(), 1);
        assert_eq!(long, short);
    }

    #[test]
    fn the_example_names_every_key() {
        let written = with_defaults_written_out(EXAMPLE);
        let site = parse(file(), &written).unwrap();
        let keys = |text: &str| {
            let line = |line: &str| Some(line.split_once(" = ")?.0.to_owned());
            text.lines()
                .filter(|text| !text.starts_with("# "))
                .filter_map(line)
                .collect::<Vec<_>>()
        };
        let mut shown = keys(&toml::to_string(&site).unwrap());
        let mut named = keys(&written);
        shown.sort();
        named.sort();
        assert_eq!(named, shown);
    }

    #[test]
    fn the_document_tells_of_every_key_in_its_section() {
        let document = include_str!("../../docs/CONFIGURATION.md");
        let mut section = None;
        for line in with_defaults_written_out(EXAMPLE).lines() {
            if line.starts_with('[') {
                section = document.split_once(&format!("## `{line}`\n"));
                assert!(section.is_some(), "{line} has no section");
            } else if let Some((key, _)) = line.split_once(" = ")
                && !line.starts_with('#')
            {
                let (_, text) = section.unwrap();
                let text = text.split("\n## ").next().unwrap();
                assert!(text.contains(&format!("\n| `{key}` | ")), "{key}");
            }
        }
    }

    #[test]
    fn a_new_sites_file_loads_to_what_was_asked() {
        for confirm in [
            ConfirmLevel::Trust,
            ConfirmLevel::Size,
            ConfirmLevel::Checksum,
        ] {
            let new = NewSite {
                name: "SITE \"Z\"".parse().unwrap(),
                root: "/data/the \"z\" root".into(),
                confirm,
                state_directory: "/var/lib/runsync".into(),
                socket: Some("/run/runsync/runsync.sock".into()),
            };
            let site = parse(file(), &new.to_toml()).unwrap();
            assert_eq!(site.name, new.name);
            assert_eq!(site.roots.first().unwrap().directory, new.root);
            assert_eq!(site.roots.first().unwrap().confirm, confirm);
            assert_eq!(site.state_directory, new.state_directory);
            assert_eq!(Some(&site.http.socket), new.socket.as_ref());
            let written = parse(file(), &with_defaults_written_out(&new.to_toml())).unwrap();
            assert_eq!(written.registry, site.registry);
        }
    }
}
