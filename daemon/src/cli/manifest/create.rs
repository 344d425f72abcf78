//! `manifest create`: a run's manifest, from a Butler export or from JSON lines of data IDs.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runsync_config::root::{Root, RootName};
use runsync_config::site::Site;
use runsync_manifest::checksum::Wanted;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{Repository, UniverseVersion};
use runsync_manifest::name::{ManifestId, RunKey, RunName, Scope};
use runsync_manifest::trailer::Trailer;
use runsync_manifest::universe;
use runsync_manifest::writer::Packing;
use serde::Serialize;
use uuid::Uuid;

use super::root;
use crate::assembly::{self, Readers};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::progress;
use crate::clock::{Clock, SystemClock};
use crate::create::listing::Listing;
use crate::create::{Draft, Measured, Measuring, Publication, export, measure};
use crate::datastore::{Datastore, LocalRoot, manifest_path};
use crate::registration_lock::{RegistrationGuard, RegistrationLock};
use crate::removal::Taken;

/// zstd's own default level: further ones cost more time than they save bytes here.
const ZSTD_LEVEL: i32 = 3;

/// Make the next manifest of a run of this site, from the files that lie in a root
///
/// Sizes and checksums are measured. The manifest is signed with the site's key and put into the
/// root's manifest folder; `ingest`, or a running daemon, then registers it here too.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Args {
    /// The run; may be left out where an export holds only one
    #[arg(long, value_name = "NAME", required_unless_present = "from_export")]
    run: Option<RunName>,
    /// A Butler export (YAML): its datasets, dataset types and dimension records
    #[arg(long, value_name = "FILE", group = "input")]
    from_export: Option<PathBuf>,
    /// JSON lines: `{"path":…,"dataset_type":…,"data_id":{…}}` for each file, before them
    /// `{"kind":"dataset_type",…}` and `{"kind":"dimension",…}`; may be given more than once
    #[arg(long, value_name = "FILE", group = "input")]
    from_jsonl: Vec<PathBuf>,
    /// The folder that paths in JSON lines are relative to [default: the root]
    #[arg(long, value_name = "DIR", requires = "from_jsonl")]
    directory: Option<PathBuf>,
    /// The root that holds the files [default: the only one]
    #[arg(long)]
    root: Option<RootName>,
    /// The generation, as `<epoch>-<sequence>` [default: the next one]
    #[arg(long)]
    generation: Option<Generation>,
    /// Say that the run holds exactly these datasets, instead of that it gains them
    #[arg(long)]
    snapshot: bool,
    /// The Rucio scope of the files
    #[arg(long)]
    scope: Option<Scope>,
    /// Version of the Butler's dimension universe, for JSON lines; an export names its own
    #[arg(long, value_name = "VERSION", default_value_t = universe::VERSION, requires = "from_jsonl")]
    universe: u32,
    /// Measure MD5 too
    #[arg(long)]
    md5: bool,
    /// Measure SHA-256 too
    #[arg(long)]
    sha256: bool,
    /// Pack the manifest with zstd
    #[arg(long)]
    zstd: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Created {
    manifest: PathBuf,
    run: RunName,
    generation: Generation,
    content: Content,
    datasets: u64,
    dimension_lines: u64,
    total_bytes: u64,
    sha256: String,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.manifest.display())?;
        write!(
            f,
            "run {}, generation {}: {} dataset lines, {} bytes of artifacts",
            self.run, self.generation, self.datasets, self.total_bytes
        )
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let root = root::choose(args.root.as_ref(), &site.roots, |root| root)?;
    let datastore = LocalRoot::open(&root.directory)?;
    let (run, mut draft) = read_draft(args, &datastore, root)?;
    if !site.may_own(&run) {
        return Err(
            Failure::new(format!("run `{run}` is not this site's to publish"))
                .hint("see `run_prefixes` in [site] and in each [[peer]]"),
        );
    }
    let key = RunKey {
        origin: datastore.repository().repository,
        name: run,
    };
    // Asked twice: nobody wants to measure for hours and be refused then.
    choose(&key, site, args.generation)?;
    measure_draft(args, root, &datastore, &mut draft, context)?;
    let lock = assembly::registration_lock(site)?;
    let _one_at_a_time = wait_for(&lock, context)?;
    let generation = choose(&key, site, args.generation)?;
    let created = publish(args, site, (root, &datastore), draft, &key, generation)?;
    context.output().value(&created)?;
    Ok(Outcome::Done)
}

/// The generation asked for where it is free, or the next one.
fn choose(run: &RunKey, site: &Site, asked: Option<Generation>) -> Result<Generation, Failure> {
    let mut roots = Vec::with_capacity(site.roots.len());
    for root in &site.roots {
        let opened = LocalRoot::open(&root.directory);
        let doing = || format!("cannot tell which generations root `{}` holds", root.name);
        roots.push((&root.name, opened.while_doing(doing())?));
    }
    let Readers { registry, ledger } = Readers::open(site)?;
    let roots = roots.iter();
    let roots = roots.map(|(name, root)| (*name, root as &dyn Datastore));
    let taken = Taken::of(run, &*registry, &*ledger, roots)?;
    Ok(taken.choose(run, asked)?)
}

fn wait_for<'l>(
    lock: &'l RegistrationLock,
    context: &Context,
) -> Result<RegistrationGuard<'l>, Failure> {
    let spinner = progress::spinner(context, "waiting for a registration to end");
    let guard = lock.acquire(&mut || {
        spinner.tick();
        ControlFlow::Continue(())
    })?;
    spinner.finish_and_clear();
    Ok(guard)
}

fn read_draft(
    args: &Args,
    datastore: &LocalRoot,
    root: &Root,
) -> Result<(RunName, Draft), Failure> {
    if let Some(file) = &args.from_export {
        let read = export::read(&name_of(file), open(file)?, args.run.as_ref());
        return read.map_err(Failure::from);
    }
    let run = args
        .run
        .clone()
        .ok_or_else(|| Failure::new("name the run with `--run`").usage())?;
    let namespace = universe::NAMESPACE.to_owned();
    let mut listing = Listing::new(UniverseVersion {
        name: namespace,
        version: args.universe,
    })
    .below(&folder_in_root(args.directory.as_deref(), root, datastore)?);
    for file in &args.from_jsonl {
        listing.read(&name_of(file), open(file)?)?;
    }
    Ok((run, listing.into_draft()?))
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    let opened = File::open(file).while_doing(format!("cannot open {}", file.display()))?;
    Ok(BufReader::new(opened))
}

fn name_of(file: &Path) -> String {
    file.display().to_string()
}

/// The folder relative to the root; empty for the root itself.
fn folder_in_root(
    folder: Option<&Path>,
    root: &Root,
    datastore: &LocalRoot,
) -> Result<String, Failure> {
    let Some(folder) = folder else {
        return Ok(String::new());
    };
    let doing = || format!("cannot use the folder {}", folder.display());
    let whole = folder.canonicalize().while_doing(doing())?;
    let root_folder = datastore.directory().canonicalize().while_doing(doing())?;
    let below = whole.strip_prefix(&root_folder).ok().and_then(Path::to_str);
    below.map(ToOwned::to_owned).ok_or_else(|| {
        Failure::new(format!("{}: it is not in root `{}`", doing(), root.name))
            .hint("a manifest names files by their paths in the root: put them there first")
    })
}

fn measure_draft(
    args: &Args,
    root: &Root,
    datastore: &LocalRoot,
    draft: &mut Draft,
    context: &Context,
) -> Result<(), Failure> {
    let bar = progress::bar(context, "measuring", draft.claims() as u64);
    let measuring = Measuring {
        wanted: Wanted {
            md5: args.md5,
            sha256: args.sha256,
        },
        threads: NonZeroUsize::new(root.confirm_threads).unwrap_or(NonZeroUsize::MIN),
    };
    let tell = |measured: Measured| {
        bar.set_length(measured.artifacts_total);
        bar.set_position(measured.artifacts);
    };
    measure(draft, datastore, measuring, &tell)?;
    bar.finish_and_clear();
    Ok(())
}

fn publish(
    args: &Args,
    site: &Site,
    (root, datastore): (&Root, &LocalRoot),
    draft: Draft,
    run: &RunKey,
    generation: Generation,
) -> Result<Created, Failure> {
    let content = if args.snapshot {
        Content::Snapshot
    } else {
        Content::Additions
    };
    let now = SystemClock.now();
    let publication = Publication {
        manifest: ManifestId(Uuid::now_v7()),
        content,
        run: run.name.clone(),
        origin: Repository {
            repository: run.origin,
            site: site.name.clone(),
        },
        generation,
        created_at: now,
        scope: args.scope.clone(),
        provenance: serde_json::Value::Null,
    };
    let packing = if args.zstd {
        Packing::Zstd(ZSTD_LEVEL)
    } else {
        Packing::Plain
    };
    let key = Arc::new(assembly::signing_key(site)?);
    let scratch = tempfile::tempfile_in(&site.state_directory).while_doing(format!(
        "cannot write in {}",
        site.state_directory.display()
    ))?;
    let (written, trailer) =
        draft.write(&publication, BufWriter::new(scratch), packing, Some(&key))?;
    let mut file = written
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    file.rewind()?;
    let path = manifest_path(run.origin, &run.name, generation, args.zstd);
    if !datastore.install_manifest(&path, &mut file)? {
        return Err(Failure::new(format!(
            "generation {generation} of run `{}` is there already",
            run.name
        ))
        .hint("a manifest is never replaced: leave out `--generation` for the next one"));
    }
    let Trailer {
        counts,
        total_bytes,
        sha256,
        ..
    } = trailer;
    Ok(Created {
        manifest: root.directory.join(path),
        run: run.name.clone(),
        generation,
        content,
        datasets: counts.dataset,
        dimension_lines: counts.dimension,
        total_bytes,
        sha256: sha256.to_string(),
    })
}
