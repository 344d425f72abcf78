//! Which root a command is about.

use runsync_config::root::{Root, RootName};

use crate::cli::failure::Failure;

/// The one that is named, or the only one. `root_of` tells the root of each.
pub(super) fn choose<'a, T>(
    named: Option<&RootName>,
    all: &'a [T],
    root_of: impl Fn(&T) -> &Root,
) -> Result<&'a T, Failure> {
    match (named, all) {
        (Some(name), _) => all
            .iter()
            .find(|one| root_of(one).name == *name)
            .ok_or_else(|| {
                Failure::new(format!("there is no root `{name}`"))
                    .hint("`runsync config show` lists the roots")
                    .usage()
            }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::new("cannot tell which root holds the files")
            .hint("name it with `--root`")
            .usage()),
    }
}
