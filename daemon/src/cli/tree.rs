//! What is in a chain, and in the chains in it.

use std::collections::BTreeSet;
use std::fmt;

use runsync_manifest::name::CollectionName;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::source::Source;
use crate::registry::collection::{Collection, Kind, Member};

/// Spaces before a line, for each chain that it is in.
const INDENT: usize = 2;

/// A collection, and what is in it.
#[derive(Debug, Serialize)]
pub(crate) struct Tree {
    /// Its name, or that of what was there.
    name: CollectionName,
    /// What it is; none: it shows `[deleted]`.
    kind: Option<Kind>,
    /// Whether lists leave it out.
    hidden: bool,
    /// Whether what is in it was told before.
    told: bool,
    /// What is in it.
    places: Vec<Self>,
}

/// A chain whose places are being told.
struct Level {
    tree: Tree,
    left: std::vec::IntoIter<Member>,
}

impl Tree {
    /// Asks for a collection and all that is in it. A chain that is in several is told once.
    pub(crate) fn grow(name: &CollectionName, source: &Source<'_>) -> Result<Self, Failure> {
        let mut told = BTreeSet::new();
        let mut levels = vec![Level::of(source.collection(name)?)];
        told.insert(name.clone());
        loop {
            let next = levels.last_mut().and_then(|level| level.left.next());
            match next {
                Some(member)
                    if member.kind == Some(Kind::Chained) && told.insert(member.name.clone()) =>
                {
                    levels.push(Level::of(source.collection(&member.name)?));
                }
                Some(member) => add(&mut levels, Self::leaf(member)),
                None => match levels.pop() {
                    Some(level) if levels.is_empty() => return Ok(level.tree),
                    Some(level) => add(&mut levels, level.tree),
                    None => return Err(Failure::new(format!("cannot tell what is in `{name}`"))),
                },
            }
        }
    }

    fn leaf(Member { name, kind }: Member) -> Self {
        Self {
            name,
            kind,
            hidden: false,
            told: kind == Some(Kind::Chained),
            places: Vec::new(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let width = depth * INDENT;
        let name = &self.name;
        write!(f, "{:width$}", "")?;
        match self.kind {
            Some(kind) => write!(f, "{name} ({kind})")?,
            None => write!(f, "[deleted] was {name}")?,
        }
        if self.hidden {
            write!(f, " hidden")?;
        }
        if self.told {
            write!(f, " as above")?;
        }
        Ok(())
    }
}

impl Level {
    fn of(Collection { row, places }: Collection) -> Self {
        let tree = Tree {
            name: row.name,
            kind: Some(row.kind),
            hidden: row.hidden,
            told: false,
            places: Vec::with_capacity(places.len()),
        };
        let left = places.into_iter();
        Self { tree, left }
    }
}

fn add(levels: &mut [Level], tree: Tree) {
    if let Some(level) = levels.last_mut() {
        level.tree.places.push(tree);
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = vec![(self, 0)];
        let mut first = true;
        while let Some((tree, depth)) = left.pop() {
            if !std::mem::take(&mut first) {
                writeln!(f)?;
            }
            tree.write(f, depth)?;
            let places = tree.places.iter().rev();
            left.extend(places.map(|place| (place, depth + 1)));
        }
        Ok(())
    }
}
