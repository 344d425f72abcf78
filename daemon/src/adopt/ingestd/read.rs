//! Reads the YAML, with the line and the field of what is wrong in it.

use std::io::BufRead;

use runsync_config::root::RootName;
use runsync_manifest::name::RseName;

use crate::create::yaml;
use crate::create::{CreateError, Place};

/// The port of brokers that name none: librdkafka's.
const BROKER_PORT: &str = "9092";
/// Messages that `ctrl_ingestd` takes at once, where it is not told.
const NUM_MESSAGES: i64 = 50;
/// Seconds that it waits for them.
const TIMEOUT: i64 = 1;

/// A configuration of `ctrl_ingestd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingestd {
    /// The file that it was read from.
    pub file: String,
    /// Host and port of Kafka's brokers.
    pub brokers: Vec<String>,
    /// What it calls itself there.
    pub client_id: Option<String>,
    /// Its consumer group.
    pub group_id: String,
    /// Messages that it takes at once.
    pub num_messages: i64,
    /// Seconds that it waits for them.
    pub timeout: i64,
    /// The Butler repository that it ingests into.
    pub butler_repo: String,
    /// What it listens to.
    pub topics: Vec<Topic>,
}

/// A topic, and where its files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// The RSE that its messages are about.
    pub rse: RseName,
    /// The root of that RSE, by its RSE's name.
    pub root: RootName,
    /// What URLs begin with; it ends with `/`.
    pub rucio_prefix: String,
    /// The folder that this stands for.
    pub folder: String,
}

/// What an operator says beside the file.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The topics to take; empty: all.
    pub topics: Vec<String>,
    /// RSEs of topics whose names do not show them.
    pub rses: Vec<(String, RseName)>,
}

impl Ingestd {
    /// Reads a configuration; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// With line and field, what is missing, unknown, or cannot be said in a site's words.
    pub fn read(file: &str, input: impl BufRead, choice: &Choice) -> Result<Self, CreateError> {
        let tree = yaml::read_tree(file, input)?;
        let reader = Reader { file, choice };
        let top = reader.mapping("", &tree)?;
        reader.only(
            "",
            top,
            &[
                "brokers",
                "client_id",
                "group_id",
                "num_messages",
                "timeout",
                "butler_repo",
                "butler",
                "topics",
                "rses",
            ],
        )?;
        Ok(Self {
            file: file.to_owned(),
            brokers: reader.brokers(&tree)?,
            client_id: tree
                .get("client_id")
                .map(|node| reader.text("client_id", node))
                .transpose()?,
            group_id: reader.text("group_id", reader.required(&tree, "", "group_id")?)?,
            num_messages: reader.number(&tree, "num_messages", NUM_MESSAGES)?,
            timeout: reader.number(&tree, "timeout", TIMEOUT)?,
            butler_repo: reader.butler_repo(&tree)?,
            topics: reader.topics(&tree)?,
        })
    }
}

/// Reads the tree of one file.
struct Reader<'r> {
    file: &'r str,
    choice: &'r Choice,
}

impl Reader<'_> {
    fn wrong(&self, node: &yaml::Node, field: &str, found: &str, expected: &str) -> CreateError {
        CreateError::Field {
            place: self.place(node),
            field: if field.is_empty() {
                "(the file)".to_owned()
            } else {
                field.to_owned()
            },
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }

    fn place(&self, node: &yaml::Node) -> Place {
        Place {
            file: self.file.to_owned(),
            line: node.line,
        }
    }

    fn mapping<'n>(
        &self,
        field: &str,
        node: &'n yaml::Node,
    ) -> Result<&'n [(String, yaml::Node)], CreateError> {
        match &node.value {
            yaml::NodeValue::Map(pairs) => Ok(pairs),
            yaml::NodeValue::Scalar { .. } | yaml::NodeValue::List(_) => {
                Err(self.wrong(node, field, "something else", "a mapping"))
            }
        }
    }

    /// Refuses keys that are not known. Their values may be secrets, and are not shown.
    fn only(
        &self,
        within: &str,
        pairs: &[(String, yaml::Node)],
        known: &[&str],
    ) -> Result<(), CreateError> {
        let unknown = pairs.iter().find(|(key, _)| !known.contains(&key.as_str()));
        unknown.map_or(Ok(()), |(key, node)| {
            let expected = format!("one of {}", known.join(", "));
            let shown: String = key.chars().take(60).collect();
            Err(self.wrong(
                node,
                &joined(within, &shown),
                "a key that ctrl_ingestd does not have",
                &expected,
            ))
        })
    }

    fn required<'n>(
        &self,
        node: &'n yaml::Node,
        within: &str,
        key: &str,
    ) -> Result<&'n yaml::Node, CreateError> {
        node.get(key).ok_or_else(|| CreateError::Missing {
            place: self.place(node),
            field: joined(within, key),
        })
    }

    fn text(&self, field: &str, node: &yaml::Node) -> Result<String, CreateError> {
        let text = match (node.scalar(), &node.value) {
            (Ok(yaml::Scalar::Text(text)), _) => Some(text),
            // An address and a port have the look of times and numbers, and are neither.
            (Err(_), yaml::NodeValue::Scalar { text, plain: true }) if node.tag.is_none() => {
                Some(text.clone())
            }
            _ => None,
        };
        text.filter(|text| !text.is_empty() && !text.contains(char::is_control))
            .ok_or_else(|| self.wrong(node, field, "something else", "text on one line"))
    }

    fn number(&self, tree: &yaml::Node, key: &str, default: i64) -> Result<i64, CreateError> {
        let Some(node) = tree.get(key) else {
            return Ok(default);
        };
        let number = match node.scalar() {
            Ok(yaml::Scalar::Number(number)) => number.as_i64().filter(|number| *number > 0),
            Ok(yaml::Scalar::Text(text)) => text.parse().ok().filter(|number| *number > 0),
            Ok(yaml::Scalar::Null | yaml::Scalar::Bool(_)) | Err(_) => None,
        };
        number.ok_or_else(|| self.wrong(node, key, "something else", "a whole number above 0"))
    }

    fn brokers(&self, tree: &yaml::Node) -> Result<Vec<String>, CreateError> {
        let node = self.required(tree, "", "brokers")?;
        let mut brokers = Vec::new();
        match &node.value {
            yaml::NodeValue::List(nodes) => {
                for node in nodes {
                    brokers.push(self.broker(node, &self.text("brokers", node)?)?);
                }
            }
            yaml::NodeValue::Scalar { .. } => {
                for text in self.text("brokers", node)?.split(',') {
                    brokers.push(self.broker(node, text.trim())?);
                }
            }
            yaml::NodeValue::Map(_) => {}
        }
        if brokers.is_empty() {
            return Err(self.wrong(node, "brokers", "none", "hosts and ports"));
        }
        Ok(brokers)
    }

    fn broker(&self, node: &yaml::Node, text: &str) -> Result<String, CreateError> {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, BROKER_PORT));
        let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_host = !host.is_empty() && host.chars().all(good);
        if !is_host || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(self.wrong(
                node,
                "brokers",
                "something else",
                "a host and a port, such as `kafka:9092`",
            ));
        }
        Ok(format!("{host}:{port}"))
    }

    fn butler_repo(&self, tree: &yaml::Node) -> Result<String, CreateError> {
        if let Some(butler) = tree.get("butler") {
            self.only("butler", self.mapping("butler", butler)?, &["repo"])?;
            return self.text("butler.repo", self.required(butler, "butler", "repo")?);
        }
        self.text("butler_repo", self.required(tree, "", "butler_repo")?)
    }

    fn topics(&self, tree: &yaml::Node) -> Result<Vec<Topic>, CreateError> {
        let key = if tree.get("topics").is_none() && tree.get("rses").is_some() {
            "rses"
        } else {
            "topics"
        };
        let node = self.required(tree, "", key)?;
        let pairs = self.mapping(key, node)?;
        if key == "topics"
            && let Some(rses) = tree.get("rses")
        {
            return Err(self.wrong(rses, "rses", "both `rses` and `topics`", "one of them"));
        }
        for name in self
            .choice
            .topics
            .iter()
            .chain(self.choice.rses.iter().map(|(topic, _)| topic))
        {
            if !pairs.iter().any(|(topic, _)| topic == name) {
                return Err(self.wrong(
                    node,
                    key,
                    &format!("no topic `{name}`"),
                    "each topic that was asked for",
                ));
            }
        }
        let wanted =
            |name: &String| self.choice.topics.is_empty() || self.choice.topics.contains(name);
        let mut topics: Vec<Topic> = Vec::new();
        for (name, node) in pairs.iter().filter(|(name, _)| wanted(name)) {
            let topic = self.topic(key, name, node)?;
            let mut others = topics.iter().filter(|other| other.rse == topic.rse);
            let same = (&topic.rucio_prefix, &topic.folder);
            if others.any(|other| (&other.rucio_prefix, &other.folder) != same) {
                let field = joined(key, name);
                let found = format!("other prefixes than another topic of RSE `{}`", topic.rse);
                return Err(self.wrong(node, &field, &found, "one folder for an RSE"));
            }
            topics.push(topic);
        }
        if topics.is_empty() {
            return Err(self.wrong(node, key, "none", "at least one topic"));
        }
        Ok(topics)
    }

    fn topic(&self, within: &str, name: &str, node: &yaml::Node) -> Result<Topic, CreateError> {
        let field = joined(within, name);
        self.only(
            &field,
            self.mapping(&field, node)?,
            &["rucio_prefix", "fs_prefix"],
        )?;
        let rse = self.rse_of(&field, name, node)?;
        let root = root_name(&rse);
        let root =
            root.ok_or_else(|| self.wrong(node, &field, "no name for a root", "a shorter RSE"))?;
        Ok(Topic {
            name: name.to_owned(),
            rucio_prefix: self.rucio_prefix(&field, node)?,
            folder: self.folder(&field, node)?,
            root,
            rse,
        })
    }

    fn rucio_prefix(&self, within: &str, node: &yaml::Node) -> Result<String, CreateError> {
        let field = joined(within, "rucio_prefix");
        let node = self.required(node, within, "rucio_prefix")?;
        let text = self.text(&field, node)?;
        // A user's name and password may stand there: the text is not shown.
        let authority = text
            .split_once("://")
            .map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        match authority {
            Some(authority) if !authority.contains('@') => {}
            _ => return Err(self.wrong(node, &field, "something else", "a URL without a user")),
        }
        let slash = if text.ends_with('/') { "" } else { "/" };
        Ok(text + slash)
    }

    /// The folder of an `fs_prefix`, which ingestd puts in front of paths as it is.
    fn folder(&self, within: &str, node: &yaml::Node) -> Result<String, CreateError> {
        let field = joined(within, "fs_prefix");
        let expected = "a folder of this machine, as `/data/rse` or `file:///data/rse`: this version serves no other roots";
        let Some(prefix) = node.get("fs_prefix") else {
            return Err(self.wrong(node, &field, "nothing", expected));
        };
        let text = self.text(&field, prefix)?;
        let path = text
            .strip_prefix("file://")
            .unwrap_or(&text)
            .trim_end_matches('/');
        let is_folder = path.strip_prefix('/').is_some_and(|parts| {
            let mut parts = parts.split('/');
            parts.all(|part| !matches!(part, "" | "." | "..")) && !path.contains(['%', '?', '#'])
        });
        if is_folder {
            return Ok(path.to_owned());
        }
        Err(self.wrong(prefix, &field, "something else", expected))
    }

    /// The RSE in a topic's name, `RSE`, `RSE-scope` or `RSE.scope`.
    fn rse_of(&self, field: &str, name: &str, node: &yaml::Node) -> Result<RseName, CreateError> {
        if let Some((_, rse)) = self.choice.rses.iter().find(|(topic, _)| topic == name) {
            return Ok(rse.clone());
        }
        let ends = name.match_indices(['-', '.']).map(|(at, _)| at);
        let begins = ends.chain([name.len()]).filter_map(|end| name.get(..end));
        // As Rucio's generic schema has RSEs; scopes have small letters as a rule.
        let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-_".contains(c);
        let rses = begins.filter(|begin| begin.chars().all(good));
        let mut found: Vec<RseName> = rses.filter_map(|rse| rse.parse().ok()).collect();
        match (found.pop(), found.is_empty()) {
            (Some(rse), true) => Ok(rse),
            (None, _) => Err(self.wrong(
                node,
                field,
                "no RSE in the topic's name",
                "`--rse TOPIC=RSE`",
            )),
            (Some(_), false) => {
                let found = "a topic's name that several RSEs could begin";
                Err(self.wrong(node, field, found, "`--rse TOPIC=RSE`"))
            }
        }
    }
}

fn joined(within: &str, key: &str) -> String {
    if within.is_empty() {
        key.to_owned()
    } else {
        format!("{within}.{key}")
    }
}

fn root_name(rse: &RseName) -> Option<RootName> {
    rse.as_str().to_ascii_lowercase().parse().ok()
}
