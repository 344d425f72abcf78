//! Takes manifest files from settled to acknowledged.
//!
//! Stateless: all that it knows it reads from the root, the registry and the ledger, so a
//! crash between any two lines is mended by running it again. The daemon's loop and the
//! operator's `ingest` both run exactly this.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use runsync_config::root::{ConfirmLevel, Root};
use runsync_manifest::error::{Disposition, ReadError};
use runsync_manifest::header::Header;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::RunKey;
use tracing::{debug, info, warn};

use super::confirm::Looking;
use super::group::Group;
use super::parse::{self, Opened, ParseError, Parsed};
use super::refuse::{Blocker, Refusal};
use super::register::{self, Outcome};
use super::settle::{Fault, Settled};
use super::stage::StageError;
use super::trust::Trust;
use super::verify::{self, Authentic, Authentication, Verdict, Verified};
use super::{IngestError, acknowledge};
use crate::clock::Clock;
use crate::datastore::{Datastore, DatastoreError, manifest_path};
use crate::file_identity::FileIdentity;
use crate::ledger::Ledger;
use crate::ledger::record::{Location, ManifestRow, ManifestState};
use crate::poison::unpoisoned;
use crate::registration_lock::RegistrationLock;
use crate::registry::Registry;
use crate::registry::record::RowSource;

/// What all roots of a site share.
#[derive(Debug)]
pub struct SiteParts {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Whose word counts; replaced on reload.
    pub trust: RwLock<Arc<Trust>>,
    /// Limits for reading manifests.
    pub limits: Limits,
    /// Folder for scratch files.
    pub scratch: PathBuf,
    /// One registration at a time, across processes.
    pub registration: RegistrationLock,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl SiteParts {
    /// Whose word counts now.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&*unpoisoned(self.trust.read()))
    }

    /// Replaces it.
    pub fn set_trust(&self, trust: Trust) {
        *unpoisoned(self.trust.write()) = Arc::new(trust);
    }
}

/// The flow over one root.
#[derive(Debug, Clone)]
pub struct Flow {
    site: Arc<SiteParts>,
    root: Root,
    datastore: Arc<dyn Datastore>,
    looking: Arc<Looking>,
}

/// How far the flow has come with the files at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Lines read of one manifest.
    Read {
        /// So many.
        lines: u64,
    },
    /// Another process registers; it is waited for.
    Waiting,
    /// Rows of one manifest compared with the registry.
    Compared {
        /// So many.
        rows: u64,
    },
    /// Rows registered of the manifests that share the commit.
    Registered {
        /// So many.
        rows: u64,
        /// Of so many.
        of: u64,
    },
}

/// What became of one file.
#[derive(Debug)]
pub enum Decision {
    /// Its state is in the ledger.
    Decided(Box<ManifestRow>),
    /// Something is wrong with it that may pass; nothing was written.
    Undecided(Box<Undecided>),
    /// There is no such file (any more).
    Gone(String),
}

/// A file that cannot be decided yet.
#[derive(Debug)]
pub struct Undecided {
    pub(super) settled: Settled,
    pub(super) file: FileIdentity,
    /// Of which kind that is.
    pub fault: Fault,
    /// What was found.
    pub error: ParseError,
}

/// How far one file got before the registry is asked.
enum Read {
    Whole(Box<Authentic>),
    Stopped(Decision),
}

impl Flow {
    /// The flow over `root`.
    pub fn new(site: Arc<SiteParts>, root: Root, datastore: Arc<dyn Datastore>) -> Self {
        Self {
            site,
            looking: Arc::new(Looking::new(&root)),
            root,
            datastore,
        }
    }

    /// What all roots share.
    pub fn site(&self) -> &Arc<SiteParts> {
        &self.site
    }

    /// The root's configuration.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The root itself.
    pub fn datastore(&self) -> &Arc<dyn Datastore> {
        &self.datastore
    }

    /// What all who confirm artifacts of the root share.
    pub fn looking(&self) -> &Looking {
        &self.looking
    }

    /// Whether it is Rucio's word that confirms a run's artifacts here: at level `trust` of a root that
    /// Rucio knows, for what it carries, which are the runs of others.
    pub fn takes_rucios_word(&self, run: &RunKey) -> bool {
        let trust = self.site.trust();
        self.root.confirm == ConfirmLevel::Trust
            && self.root.rse.is_some()
            && trust.has_rucio()
            && run.origin != trust.local()
    }

    /// Decides files, as many in one commit as may share one. `unsigned` is an operator's
    /// word for manifests of this site's own repository without a signature. `progress` may
    /// break off: what is committed stays.
    pub fn decide(
        &self,
        files: Vec<Settled>,
        unsigned: bool,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Decision>, IngestError> {
        let mut decisions = Vec::with_capacity(files.len());
        let mut group = Group::default();
        for settled in files {
            let manifest = match self.read(settled, unsigned, progress)? {
                Read::Whole(manifest) => manifest,
                Read::Stopped(decision) => {
                    decisions.push(decision);
                    continue;
                }
            };
            if !group.takes(manifest.parsed()) {
                let full = std::mem::take(&mut group);
                decisions.extend(self.settle_group(full, progress)?);
            }
            group.add(*manifest);
        }
        decisions.extend(self.settle_group(group, progress)?);
        Ok(decisions)
    }

    fn read(
        &self,
        settled: Settled,
        unsigned: bool,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Read, IngestError> {
        let opened = match parse::open(settled.clone(), &*self.datastore, self.site.limits) {
            Ok(opened) => opened,
            Err((file, error)) => return self.stopped(settled, file, error, None),
        };
        if let Err(refusal) = verify::admit(opened.header(), &self.site.trust()) {
            return self.turned_away(&opened, &settled, *refusal);
        }
        let file = opened.file();
        let header = opened.header().clone();
        let mut lines = |lines| progress(Progress::Read { lines });
        let parsed = match opened.read(&self.site.scratch, &mut lines) {
            Ok(parsed) => parsed,
            Err(error) => return self.stopped(settled, file, error, Some(&header)),
        };
        let unsigned = unsigned || self.is_accepted(&parsed)?;
        match verify::authenticate(parsed, &self.site.trust(), unsigned) {
            Ok(Authentication::Authentic(manifest)) => Ok(Read::Whole(manifest)),
            Ok(Authentication::Refused(parsed, refusal)) => {
                let row = self.whole_row(&parsed, *refusal);
                acknowledge::acknowledge(std::slice::from_ref(&row), &*self.site.ledger)?;
                Ok(Read::Stopped(Decision::Decided(Box::new(row))))
            }
            Err(error) => {
                let error = ParseError::Stage(StageError::Scratch(error));
                self.stopped(settled, file, error, Some(&header))
            }
        }
    }

    /// Whether these very bytes were let in before, such as by an operator's word for them.
    fn is_accepted(&self, parsed: &Parsed) -> Result<bool, IngestError> {
        let (header, digest) = (parsed.header(), parsed.trailer().sha256);
        let run = RunKey {
            origin: header.origin.repository,
            name: header.run.clone(),
        };
        let accepted = self.site.ledger.accepted_digest(&run, header.generation)?;
        Ok(accepted == Some(digest))
    }

    fn turned_away(
        &self,
        opened: &Opened,
        settled: &Settled,
        refusal: Refusal,
    ) -> Result<Read, IngestError> {
        let row = acknowledge::refused(
            settled,
            opened.file(),
            &self.root.name,
            (Some(opened.header()), None),
            refusal,
            self.site.clock.now(),
        );
        acknowledge::acknowledge(std::slice::from_ref(&row), &*self.site.ledger)?;
        Ok(Read::Stopped(Decision::Decided(Box::new(row))))
    }

    fn stopped(
        &self,
        settled: Settled,
        file: FileIdentity,
        error: ParseError,
        header: Option<&Header>,
    ) -> Result<Read, IngestError> {
        let fault = match &error {
            ParseError::Open(DatastoreError::Missing { .. }) => {
                return Ok(Read::Stopped(Decision::Gone(settled.path().to_owned())));
            }
            ParseError::Open(DatastoreError::Irregular { .. }) => Fault::Wrong,
            // A full disk of scratch files is no word about the file either, and others may fit.
            ParseError::Open(_) | ParseError::Stage(StageError::Scratch(_)) => Fault::Unreadable,
            ParseError::Read(ReadError::Incomplete { .. }) => Fault::Cut,
            ParseError::Read(cause) => match cause.disposition() {
                Disposition::Quarantine => Fault::Wrong,
                Disposition::Retry | Disposition::Stop => Fault::Unreadable,
            },
            ParseError::Interrupted => return Err(IngestError::Interrupted),
            ParseError::Stage(StageError::Contradiction(contradiction)) => {
                // The trailer matched: the file is whole, and wrong for good.
                let refusal = Refusal::from(contradiction);
                let row = self.refused_row(&settled, file, header, refusal);
                acknowledge::acknowledge(std::slice::from_ref(&row), &*self.site.ledger)?;
                return Ok(Read::Stopped(Decision::Decided(Box::new(row))));
            }
        };
        let path = settled.path();
        debug!(root = %self.root.name, path, error = %error, "manifest cannot be read yet");
        let undecided = Undecided {
            settled,
            file,
            fault,
            error,
        };
        Ok(Read::Stopped(Decision::Undecided(Box::new(undecided))))
    }

    /// Quarantines a file whose fault is final: it has settled, or an operator calls it whole.
    pub fn quarantine(&self, undecided: &Undecided) -> Result<ManifestRow, IngestError> {
        let mut refusal = match &undecided.error {
            ParseError::Read(error) => Refusal::from(error),
            other @ (ParseError::Open(_) | ParseError::Stage(_) | ParseError::Interrupted) => {
                Refusal::quarantined(super::error_chain(other), "check the file and its folder")
            }
        };
        if undecided.fault == Fault::Cut {
            refusal.hint = Some(
                "it has not grown for longer than the root's `torn_deadline`: have it transferred again"
                    .to_owned(),
            );
        }
        let row = self.refused_row(&undecided.settled, undecided.file, None, refusal);
        acknowledge::acknowledge(std::slice::from_ref(&row), &*self.site.ledger)?;
        Ok(row)
    }

    fn refused_row(
        &self,
        settled: &Settled,
        file: FileIdentity,
        header: Option<&Header>,
        refusal: Refusal,
    ) -> ManifestRow {
        let now = self.site.clock.now();
        acknowledge::refused(settled, file, &self.root.name, (header, None), refusal, now)
    }

    /// Verifies, registers and acknowledges manifests of different runs.
    fn settle_group(
        &self,
        group: Group,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Decision>, IngestError> {
        let manifests = group.into_manifests();
        if manifests.is_empty() {
            return Ok(Vec::new());
        }
        let _one_at_a_time = self
            .site
            .registration
            .acquire(&mut || progress(Progress::Waiting))?;
        self.resume(progress)?;
        // What adopted runs give way to is registered alone: nothing else of its commit stands against it.
        let (mut together, mut alone) = (Vec::with_capacity(manifests.len()), Vec::new());
        for manifest in manifests {
            if self.giving_way(&manifest.parsed().run())?.is_empty() {
                together.push(manifest);
            } else {
                alone.push(manifest);
            }
        }
        let mut decisions = self.settle_locked(together, progress)?;
        for manifest in alone {
            decisions.extend(self.settle_locked(vec![manifest], progress)?);
        }
        Ok(decisions)
    }

    /// Ends registrations that were interrupted, before anything else is judged: some of their
    /// rows are visible, and what came later must not keep the others out. One whose file is not
    /// where its origin put it stays open until the file is seen again.
    fn resume(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), IngestError> {
        for interrupted in self.site.registry.registering()? {
            for packed in [false, true] {
                let RunKey { origin, name } = &interrupted.run;
                let path = manifest_path(*origin, name, interrupted.generation, packed);
                if self.is_blocked(&path)? {
                    continue;
                }
                let settled = Settled::by_operator(path, self.site.clock.now());
                // It was accepted when it was begun, signed or by an operator's word.
                if let Read::Whole(manifest) = self.read(settled, true, progress)?
                    && manifest.parsed().trailer().sha256 == interrupted.digest
                {
                    info!(run = %name, generation = %interrupted.generation, "interrupted registration goes on");
                    self.settle_locked(vec![*manifest], progress)?;
                }
            }
        }
        Ok(())
    }

    /// A manifest that was judged before, read again; none where it is not there as it was.
    pub(super) fn read_again(&self, path: &str) -> Result<Option<Box<Authentic>>, IngestError> {
        let settled = Settled::by_operator(path.to_owned(), self.site.clock.now());
        let go_on = &mut |_| ControlFlow::Continue(());
        Ok(match self.read(settled, false, go_on)? {
            Read::Whole(manifest) => Some(manifest),
            Read::Stopped(_) => None,
        })
    }

    /// Whether a manifest waits for something: trying it again at every turn would not help.
    fn is_blocked(&self, path: &str) -> Result<bool, IngestError> {
        let root = self.root.name.clone();
        let path = path.to_owned();
        let row = self.site.ledger.manifest(&Location { root, path })?;
        Ok(row.is_some_and(|row| row.state == ManifestState::Blocked))
    }

    /// As [`settle_group`](Self::settle_group), while this process alone may register.
    fn settle_locked(
        &self,
        manifests: Vec<Authentic>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Decision>, IngestError> {
        let (ledger, registry) = (&*self.site.ledger, &*self.site.registry);
        let mut rows = Vec::with_capacity(manifests.len());
        let mut to_register = Vec::new();
        for manifest in manifests {
            let mut compared = |rows| progress(Progress::Compared { rows });
            let root = &self.root.name;
            let mut verdict = verify::verify(manifest, ledger, registry, root, &mut compared)?;
            if let Verdict::Compare(verified) = verdict {
                verdict = self.compare(verified, progress)?;
            } else if let Verdict::Hear(verified) = verdict {
                verdict = self.hear(verified, &mut rows, progress)?;
            }
            match verdict {
                Verdict::Register(verified) => to_register.push(verified),
                Verdict::Compare(verified) | Verdict::Hear(verified) | Verdict::Hold(verified) => {
                    rows.push(self.held(&verified));
                }
                Verdict::Known(parsed) => {
                    self.close_adopted(&parsed.run())?;
                    rows.push(self.registered_row(&parsed));
                }
                Verdict::Refuse(parsed, refusal) => rows.push(self.whole_row(&parsed, refusal)),
            }
        }
        // From its first row on it is the manifest of its generation, whatever comes later.
        let accepted: Vec<_> = to_register.iter().map(Verified::accepted).collect();
        ledger.accept(&accepted)?;
        let trusts =
            |run: &RunKey| self.root.confirm == ConfirmLevel::Trust && !self.takes_rucios_word(run);
        let claims = |verified: &Verified| verified.parsed().rows().claims();
        let of = to_register.iter().map(claims).sum();
        let outcomes = register::register(
            to_register,
            &self.root.name,
            &trusts,
            registry,
            &mut |rows| progress(Progress::Registered { rows, of }),
        )?;
        for outcome in outcomes {
            rows.push(self.acknowledged_row(&outcome)?);
        }
        acknowledge::acknowledge(&rows, ledger)?;
        Ok(rows
            .into_iter()
            .map(|row| Decision::Decided(Box::new(row)))
            .collect())
    }

    fn acknowledged_row(&self, outcome: &Outcome) -> Result<ManifestRow, IngestError> {
        match outcome {
            Outcome::Registered(verified, registered) => {
                let now = self.site.clock.now();
                self.close_adopted(verified.run())?;
                let differing = &registered.dimensions_differing;
                acknowledge::keep_differing(verified.run(), differing, &*self.site.ledger, now)?;
                info!(
                    run = %verified.run().name,
                    datasets_added = registered.datasets_added,
                    artifacts_waiting = registered.artifacts_waiting,
                    "run registered"
                );
                let repeated = verified.parsed().rows().repeated_lines();
                if repeated > 0 {
                    warn!(run = %verified.run().name, repeated, "manifest repeats dataset lines");
                }
                self.overtaken_or_registered(verified)
            }
            Outcome::Refused(parsed, refusal) => Ok(self.whole_row(parsed, refusal.clone())),
        }
    }

    /// An interrupted registration is ended although a floor may have come in between.
    fn overtaken_or_registered(&self, verified: &Verified) -> Result<ManifestRow, IngestError> {
        if let Some(refusal) = self.kept_although_left_out(verified)? {
            return Ok(self.whole_row(verified.parsed(), refusal));
        }
        let row = self.registered_row(verified.parsed());
        let floor = self
            .site
            .registry
            .run(verified.run())?
            .and_then(|run| run.floor);
        let overtaken = floor.and_then(|floor| row.clone().overtaken(floor, row.decided_at));
        Ok(overtaken.unwrap_or(row))
    }

    /// The row of an inventory, which is kept for the flow that compares it.
    fn held(&self, verified: &Verified) -> ManifestRow {
        let run = &verified.run().name;
        let refusal = Refusal::blocked(
            Blocker::Held,
            format!("a valid inventory of run `{run}`, held"),
            "this version compares no inventories",
        );
        self.whole_row(verified.parsed(), refusal)
    }

    fn registered_row(&self, parsed: &Parsed) -> ManifestRow {
        acknowledge::registered(parsed, &self.root.name, self.site.clock.now())
    }

    fn whole_row(&self, parsed: &Parsed, refusal: Refusal) -> ManifestRow {
        let read = (Some(parsed.header()), Some(parsed.trailer()));
        let now = self.site.clock.now();
        acknowledge::refused(
            parsed.settled(),
            parsed.file(),
            &self.root.name,
            read,
            refusal,
            now,
        )
    }
}
