//! `init`: makes a site that is ready to run.
//!
//! intent → keys → folders → configuration → repository.json → owner
//!
//! What is to be made is decided first, UUIDs included, and written down beside the configuration
//! file. Every step after that creates without clobbering, or finds that it was done; so an `init`
//! that was cut short is finished by the same command, under the same UUIDs.
//!
//! # What a crash leaves
//!
//! | after           | left behind                        | recovery                      |
//! |-----------------|------------------------------------|-------------------------------|
//! | intent          | `site.toml.init`, some of the rest | the same `init` goes on       |
//! | repository.json | `site.toml.init` and a whole site  | the same `init` only tidies   |
//!
//! `repository.json` comes last of what is made: a root that has one belongs to a whole site.

mod intent;

mod owner;

mod report;

mod steps;

use std::path::{Component, Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use runsync_config::example::NewSite;
use runsync_config::root::ConfirmLevel;
use runsync_config::site::Site;
use runsync_manifest::name::SiteName;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::identity;
use crate::cli::init::intent::{Found, Intent};
use crate::cli::init::owner::Owner;
use crate::cli::init::report::{Made, State};

/// The socket of a system's site, in the folder that the unit's `RuntimeDirectory=` provides.
const SYSTEM_SOCKET: &str = "/run/runsync/runsync.sock";

/// Make a site: repository identity, key pair, registry, ledger and configuration file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the site's first datastore root; what it holds already is left alone
    root: PathBuf,

    /// The name that other sites will know this one by
    #[arg(long, value_name = "NAME")]
    site: SiteName,

    /// How an artifact is confirmed before it gets a datastore record
    #[arg(long, value_name = "LEVEL", default_value = "size", value_parser = confirm_levels())]
    confirm: ConfirmLevel,

    /// User that the daemon will run as [default: `runsync` if made by root and there is one, else
    /// you]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

fn confirm_levels() -> impl TypedValueParser<Value = ConfirmLevel> {
    PossibleValuesParser::new(["trust", "size", "checksum"]).map(|level| match level.as_str() {
        "trust" => ConfirmLevel::Trust,
        "checksum" => ConfirmLevel::Checksum,
        _ => ConfirmLevel::Size,
    })
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let config_file = context.new_config_file()?;
    let owner = Owner::of_new_files(args.owner.as_deref())?;
    let new = NewSite {
        name: args.site.clone(),
        root: absolute(&args.root)?,
        confirm: args.confirm,
        state_directory: state_directory(&config_file),
        socket: Context::is_system_file(&config_file).then(|| SYSTEM_SOCKET.into()),
    };
    // Read before anything is made, so that a name or path that cannot be configured is told now.
    let site = new.site(&config_file)?;
    let (site, state) = match Intent::find(&new, &site)? {
        Found::Whole(site) => (*site, State::Whole),
        Found::CutShort(intent) => {
            steps::make(&intent, &new, &site, owner)?;
            (site, State::Finished)
        }
        Found::Nothing => {
            let intent = Intent::decide(&new, &site)?;
            steps::make(&intent, &new, &site, owner)?;
            (site, State::Made)
        }
    };
    let made = Made::new(&site, &identity::public_key_file(&site)?, state);
    context.output().value(&made)?;
    Ok(Outcome::Done)
}

/// The folder as the configuration will name it: absolute, without symbolic links or `..` where it
/// exists.
fn absolute(root: &Path) -> Result<PathBuf, Failure> {
    let cannot = || format!("cannot use {} as a root", root.display());
    let absolute = match root.canonicalize() {
        Ok(root) => root,
        Err(_) if root.components().any(|part| part == Component::ParentDir) => {
            return Err(Failure::new(format!("{}: it holds `..`", cannot())).usage());
        }
        Err(_) => std::path::absolute(root).while_doing(cannot())?,
    };
    if absolute.to_str().is_some() {
        Ok(absolute)
    } else {
        Err(Failure::new(format!("{}: its path is not UTF-8", cannot())).usage())
    }
}

fn state_directory(config_file: &Path) -> PathBuf {
    if Context::is_system_file(config_file) {
        return "/var/lib/runsync".into();
    }
    config_file.parent().unwrap_or(Path::new("/")).join("state")
}

/// Where the public half of the signing key goes: beside it.
fn public_key_path(site: &Site) -> PathBuf {
    site.signing_key_file.with_file_name("public.json")
}
