//! One scan of one root, from where the last one stopped to the end, or until its budget is spent.
//!
//! Stretch by stretch: gather what the listing and the records differ in, judge it, see that the root is still the
//! one that was opened, write down what was found with the new position.

use std::io::{self, Read};
use std::thread;
use std::time::Instant;

use runsync_manifest::checksum::{Buffer, Wanted, checksum_with};
use runsync_manifest::name::ArtifactPath;

use super::ScanError;
use super::batch::Batch;
use super::belonging::Belonging;
use super::budget::Budget;
use super::ground::{Ground, Streams};
use super::judge::{Evidence, Suspicion, Verdict, difference, judge};
use super::merge::Met;
use super::report::{EXAMPLES, ScanCounts};
use super::streams::CHANGE_UNKNOWN;
use super::temporary::is_temporary;
use crate::datastore::{DatastoreError, Look, SeenFile};
use crate::ledger::scans::{Drift, ScanRow, Span};
use crate::registry::record::{ArtifactAt, ArtifactStanding};

/// Paths looked at in one go.
const LOOKS: usize = 256;

/// A scan under way.
pub(super) struct Pass<'a, 'b, 'p> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) row: ScanRow,
    pub(super) counts: ScanCounts,
    pub(super) unlisted: Vec<String>,
    pub(super) other_roots: Vec<String>,
    pub(super) odd: Vec<String>,
    budget: &'b mut Budget<'p>,
    buffer: Buffer,
    belonging: Belonging,
}

impl<'a, 'b, 'p> Pass<'a, 'b, 'p> {
    pub(super) fn new(
        ground: &'a Ground<'a>,
        row: ScanRow,
        budget: &'b mut Budget<'p>,
    ) -> Result<Self, ScanError> {
        let mut counts: ScanCounts = serde_json::from_str(&row.counts)?;
        let asked = ground.order.checks.share();
        counts.share = Some(counts.share.map_or(asked, |share| share.min(asked)));
        Ok(Self {
            ground,
            counts,
            row,
            unlisted: Vec::new(),
            other_roots: Vec::new(),
            odd: Vec::new(),
            budget,
            buffer: Buffer::new(),
            belonging: Belonging::default(),
        })
    }

    /// Goes on to the end, or as far as the budget allows.
    pub(super) fn go(&mut self) -> Result<(), ScanError> {
        let ground = self.ground;
        let Some(position) = self.row.position.clone() else {
            return Ok(());
        };
        thread::scope(|scope| {
            let mut streams = ground.streams(&position, scope)?;
            self.budget.start();
            self.go_through(&mut streams, &position)
        })
    }

    fn go_through(&mut self, streams: &mut Streams<'_>, position: &str) -> Result<(), ScanError> {
        let mut batch = Batch::begin(position, self.counts.checked_bytes);
        loop {
            let is_end = self.gather(streams, &mut batch)?;
            let found = self.judge(&mut batch)?;
            self.note(&batch, &found, is_end)?;
            if is_end || self.is_over(&batch) {
                return Ok(());
            }
            batch = Batch::begin(batch.until(), self.counts.checked_bytes);
        }
    }

    /// Whether no more should be begun. Each scan comes further by a path, whatever its limits.
    fn is_over(&self, batch: &Batch) -> bool {
        self.budget.is_broken_off() || (self.budget.is_over_here() && batch.has_moved())
    }

    /// Goes through paths until the batch is full. True at the end of all.
    fn gather(&mut self, streams: &mut Streams<'_>, batch: &mut Batch) -> Result<bool, ScanError> {
        while !batch.is_full(self.counts.checked_bytes) && !self.is_over(batch) {
            let met = streams.merge.next()?;
            if let Some(fault) = streams.merge.sights().take_fault() {
                return Err(fault);
            }
            let (calls, took) = streams.merge.sights().cost();
            self.counts.calls += calls;
            if calls > 0 {
                self.budget.calls(calls, took, &self.counts);
            }
            let Some(met) = met else {
                return Ok(true);
            };
            if !self.take(&met, streams, batch)? {
                return Ok(false);
            }
            if let Some(stretches) = &self.ground.stretches
                && let Some(span) = met.span()
                && !stretches.folders_hold(&span.from)
            {
                batch.singles.push(span);
            }
            batch.pass(&met);
            self.counts.objects += 1;
            self.budget.object(&self.counts);
        }
        Ok(false)
    }

    /// Takes up one path. False where reading its file was broken off: it is as if it had not been met.
    fn take(
        &mut self,
        met: &Met,
        streams: &mut Streams<'_>,
        batch: &mut Batch,
    ) -> Result<bool, ScanError> {
        match met {
            Met::Both(file, record) => return self.both(file, record, streams, batch),
            Met::File(file) => self.unclaimed(file, false, streams, batch)?,
            Met::Record(record) => {
                if self.is_to_be_there(record, batch) {
                    batch.suspect(record.path.clone(), Suspicion::Lost);
                }
            }
            Met::Irregular(path, record) => match record {
                Some(record) if self.is_to_be_there(record, batch) => {
                    batch.suspect(path.clone(), Suspicion::Irregular);
                }
                Some(_) | None => {
                    self.counts.irregular += 1;
                    example(&mut self.odd, || format!("{path} is no regular file"));
                }
            },
            Met::Unreadable(path) => {
                self.counts.unreadable += 1;
                batch.hole_at(path);
                example(&mut self.odd, || format!("{path} cannot be looked at"));
            }
            Met::Unlisted(Some(folder), fault) => {
                self.counts.unlisted += 1;
                batch.holes.push(Span::below(Some(folder)));
                example(&mut self.unlisted, || format!("{folder}: {fault}"));
            }
            // Whatever was found there before is another's.
            Met::OtherRoot(folder) => {
                example(&mut self.other_roots, || folder.to_string());
            }
            Met::Unlisted(None, fault) => {
                let root = self.ground.flow.root().name.clone();
                let fault = *fault;
                return Err(ScanError::Unlisted { root, fault });
            }
            Met::Unjudged(record) => {
                let is_recorded = record.standing == ArtifactStanding::Confirmed;
                self.counts.unjudged += u64::from(is_recorded);
            }
            Met::Elsewhere(_) => self.counts.elsewhere += 1,
            Met::Unnameable(name) => {
                self.counts.unnameable += 1;
                example(&mut self.odd, || {
                    format!("{name} can be no artifact's name")
                });
            }
        }
        Ok(true)
    }

    /// Counts what runs say of an artifact. True where its file has to be there, and nothing is under way.
    fn is_to_be_there(&mut self, record: &ArtifactAt, batch: &mut Batch) -> bool {
        match record.standing {
            ArtifactStanding::Confirmed => self.counts.records += 1,
            ArtifactStanding::Awaited => self.counts.awaited += 1,
            ArtifactStanding::Absent => {}
        }
        if record.busy {
            self.counts.under_way += 1;
            batch.hole_at(&record.path);
        }
        record.standing == ArtifactStanding::Confirmed && !record.busy
    }

    fn both(
        &mut self,
        file: &SeenFile,
        record: &ArtifactAt,
        streams: &mut Streams<'_>,
        batch: &mut Batch,
    ) -> Result<bool, ScanError> {
        if !self.is_to_be_there(record, batch) {
            if record.standing == ArtifactStanding::Absent && !record.busy {
                self.unclaimed(file, true, streams, batch)?;
            } else {
                self.count(file);
            }
            return Ok(true);
        }
        if file.identity.size != record.size {
            self.count(file);
            batch.suspect(record.path.clone(), Suspicion::Size(file.clone()));
            return Ok(true);
        }
        let path = file.path.as_str();
        let is_read = self.ground.sample.holds(path) || streams.earlier.holds(path)?;
        if is_read && !self.read(file, record, batch) {
            return Ok(false);
        }
        self.count(file);
        self.counts.agree += 1;
        Ok(true)
    }

    fn count(&mut self, file: &SeenFile) {
        self.counts.files += 1;
        self.counts.bytes = self.counts.bytes.saturating_add(file.identity.size);
    }

    /// A file that no record names; a dataset may, where it is `claimed`.
    fn unclaimed(
        &mut self,
        file: &SeenFile,
        claimed: bool,
        streams: &mut Streams<'_>,
        batch: &mut Batch,
    ) -> Result<(), ScanError> {
        self.count(file);
        let ages = &self.ground.ages;
        if streams.untouchable.holds(file.path.as_str())? {
            self.counts.spoken_for += 1;
            batch.hole_at(&file.path);
        } else if is_temporary(file.path.as_str()) {
            self.counts.temporary += 1;
            example(&mut self.odd, || {
                format!("{} has a temporary or hidden name", file.path)
            });
        } else if self.ground.has_rucio_names() && !claimed {
            self.counts.untold += 1;
            batch.hole_at(&file.path);
        } else if self.ground.doubts_dark() {
            self.counts.undecided += 1;
            let is_known = file.changed_ns != CHANGE_UNKNOWN;
            self.counts.ahead += u64::from(is_known && ages.is_ahead(file.changed_ns));
            batch.hole_at(&file.path);
        } else if !ages.is_old(file.changed_ns) {
            self.counts.new += 1;
            let is_known = file.changed_ns != CHANGE_UNKNOWN;
            self.counts.ahead += u64::from(is_known && ages.is_ahead(file.changed_ns));
            batch.hole_at(&file.path);
        } else {
            batch.suspect(file.path.clone(), Suspicion::Dark(file.clone()));
        }
        Ok(())
    }

    /// Reads a file and compares its checksums. False where that was broken off.
    fn read(&mut self, file: &SeenFile, record: &ArtifactAt, batch: &mut Batch) -> bool {
        let said = &record.checksums;
        let wanted = Wanted {
            md5: said.md5.is_some(),
            sha256: said.sha256.is_some(),
        };
        let opened = self.ground.flow.datastore().open(&file.path);
        let handle = match opened {
            Ok((handle, now)) if now == file.identity => handle,
            Ok(_) | Err(DatastoreError::Missing { .. }) => {
                self.counts.undecided += 1;
                batch.hole_at(&file.path);
                return true;
            }
            Err(_) => {
                self.unread(&file.path, batch);
                return true;
            }
        };
        let mut metered = Metered {
            from: handle,
            budget: self.budget,
            counts: &mut self.counts,
            broken_off: false,
        };
        let sums = checksum_with(&mut self.buffer, &mut metered, wanted);
        if metered.broken_off {
            return false;
        }
        match sums {
            Ok((_, sums)) if difference(said, &sums).is_none() => self.counts.checked += 1,
            Ok((_, sums)) => {
                let what = Suspicion::Sum(file.clone(), sums);
                batch.suspect(file.path.clone(), what);
            }
            Err(_) => self.unread(&file.path, batch),
        }
        true
    }

    fn unread(&mut self, path: &ArtifactPath, batch: &mut Batch) {
        self.counts.unreadable += 1;
        batch.hole_at(path);
        example(&mut self.odd, || format!("{path} could not be read"));
    }

    /// Looks at paths, some at a time: whoever waits for this scan to end, or to live, hears of it in between.
    fn look(&mut self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, ScanError> {
        let ground = self.ground;
        let mut looks = Vec::with_capacity(paths.len());
        for paths in paths.chunks(LOOKS) {
            let begun = Instant::now();
            let some = ground.flow.datastore().look(paths);
            looks.extend(some.map_err(|error| ground.failed(error))?);
            let calls = u64::try_from(paths.len()).unwrap_or(u64::MAX);
            self.counts.calls += calls;
            self.budget.calls(calls, begun.elapsed(), &self.counts);
            self.budget.ask(&self.counts);
        }
        Ok(looks)
    }

    /// Judges all that is suspect in a batch.
    fn judge(&mut self, batch: &mut Batch) -> Result<Vec<Drift>, ScanError> {
        let suspects = std::mem::take(&mut batch.suspects);
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let ground = self.ground;
        let (root, site) = (&ground.flow.root().name, ground.flow.site());
        let paths: Vec<&ArtifactPath> = suspects.iter().map(|suspect| &suspect.path).collect();
        let looks = self.look(&paths)?;
        let claims = site.registry.claims_at(root, &paths)?;
        let second_names = ground.second_names(&suspects)?;
        let mut found = Vec::new();
        for (((suspect, look), claims), second_name) in suspects
            .into_iter()
            .zip(looks)
            .zip(&claims)
            .zip(second_names)
        {
            let path = suspect.path.clone();
            let evidence = Evidence {
                look,
                claims,
                second_name,
                rucio_names: ground.has_rucio_names(),
                behind: &ground.behind,
            };
            match judge(suspect, &evidence) {
                Verdict::Found(mut drift) => {
                    let (path, registry) = (drift.path.as_str(), &*site.registry);
                    drift.run = self.belonging.of(path, claims, registry)?;
                    found.push(drift);
                }
                Verdict::Well => {}
                Verdict::LeftOut => {
                    self.counts.left_out += 1;
                    batch.hole_at(&path);
                }
                Verdict::SecondName => self.counts.second_names += 1,
                Verdict::Undecided => {
                    self.counts.undecided += 1;
                    batch.hole_at(&path);
                }
                Verdict::Unreadable => {
                    self.counts.unreadable += 1;
                    batch.hole_at(&path);
                    example(&mut self.odd, || format!("{path} cannot be looked at"));
                }
            }
        }
        Ok(found)
    }

    /// Writes down what was found, and where this scan is now.
    fn note(&mut self, batch: &Batch, found: &[Drift], is_end: bool) -> Result<(), ScanError> {
        let ground = self.ground;
        let checked = ground.flow.datastore().check_identity();
        checked.map_err(|error| ground.failed(error))?;
        let now = ground.flow.site().clock.now();
        self.row.tried_at = now;
        self.row.counts = serde_json::to_string(&self.counts)?;
        if is_end {
            self.row.position = None;
            self.row.finished_at = Some(now);
            self.row.whole_begun_at = Some(self.row.begun_at);
            self.row.whole_objects = Some(self.counts.objects);
            self.row.whole_unseen = self.counts.unseen();
        } else {
            self.row.position = Some(batch.until().to_owned());
        }
        let whole = ground.whole();
        let concluded = ground.concluded(batch, &batch.span(is_end.then_some(&whole)));
        let ledger = &ground.flow.site().ledger;
        Ok(ledger.note_scan(&self.row, found, &concluded)?)
    }
}

/// A file that is read within a budget.
struct Metered<'m, 'p, R> {
    from: R,
    budget: &'m mut Budget<'p>,
    counts: &'m mut ScanCounts,
    broken_off: bool,
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.budget.is_over(self.counts) {
            self.broken_off = true;
            return Err(io::Error::other("reading was broken off"));
        }
        let begun = Instant::now();
        let count = self.from.read(to)?;
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        self.counts.calls += 1;
        self.counts.checked_bytes += bytes;
        self.budget.bytes(bytes);
        self.budget.calls(1, begun.elapsed(), self.counts);
        Ok(count)
    }
}

fn example(examples: &mut Vec<String>, example: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES {
        examples.push(example());
    }
}
