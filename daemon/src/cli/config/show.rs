//! `config show`: the effective configuration, in the form of the file.

use std::fmt;

use runsync_config::site::Site;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};

#[derive(Serialize)]
#[serde(transparent)]
struct Shown<'s> {
    site: &'s Site,
    #[serde(skip)]
    text: String,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "# {}\n{}",
            self.site.config_file.display(),
            self.text.trim_end()
        )
    }
}

pub(super) fn run(context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let text = toml::to_string(site)?;
    context.output().value(&Shown { site, text })?;
    Ok(Outcome::Done)
}
