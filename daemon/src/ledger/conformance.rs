//! The suite that every ledger backend passes.

use std::path::Path;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ManifestId, RepositoryId, RunKey};
use runsync_manifest::signature::KeyId;
use uuid::Uuid;

use crate::file_identity::FileIdentity;
use crate::lease::{Fence, Tenure};
use crate::ledger::record::{
    Finding, Location, ManifestRow, ManifestState, ManifestSummary, NewRequest, Publication,
    PublicationState,
};
use crate::ledger::{Ledger, LedgerError};

/// Opens the ledger in a folder under a tenure, or creates it first.
pub(crate) type Open = dyn Fn(&Path, &Tenure) -> Result<Box<dyn Ledger>, LedgerError>;

/// Instantiates every case for a backend: `$open` is an [`Open`].
macro_rules! conformance {
    ($open:expr; $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::ledger::conformance::$case(&$open);
        }
    )*};
    ($open:expr) => {
        $crate::ledger::conformance::conformance! { $open;
            an_empty_ledger_answers_nothing
            what_is_recorded_is_read_back
            recording_again_replaces
            a_file_seen_again_keeps_its_row
            a_forgotten_file_is_new_again
            manifests_are_listed_by_state_oldest_decision_first
            pages_of_manifests_follow_each_other
            manifests_of_a_run_are_listed_by_generation
            every_state_is_counted
            findings_are_counted_until_they_heal
            findings_of_a_kind_are_listed_by_page_and_heal_together
            sweeps_are_remembered
            the_last_registration_is_remembered
            rows_forgotten_are_counted
            the_first_manifest_accepted_as_a_generation_is_remembered
            requests_are_kept_newest_first
            publications_are_listed_by_run_by_state_and_by_page
            an_order_leaves_what_is_known_of_a_publication
            runs_with_a_manifest_that_nobody_has_ordered_are_listed
            reopening_keeps_everything
            an_old_fence_writes_nothing
            hints_are_kept_until_they_are_done
            a_hint_heard_again_is_one_and_outlives_who_is_done_with_the_first
            hints_that_are_put_off_come_back_when_they_are_due
            pages_of_hints_follow_each_other
            hints_are_counted_by_kind
            hints_that_are_given_up_are_counted_as_lost
            the_newest_messages_that_could_not_be_read_are_kept
            an_old_fence_keeps_no_hint
            a_pass_of_a_scan_has_a_number_of_its_own_and_goes_on
            drift_is_counted_by_passes_and_heals_where_they_conclude
            drift_is_filtered_paged_and_left_out
            spellings_of_one_name_are_twins
            sides_of_a_path_are_found_and_heal_apart
            findings_are_counted_however_they_come_change_and_go
            an_old_fence_begins_no_scan
            what_was_seen_before_the_clock_leapt_counts_for_nothing
            repairs_are_noted_before_and_after
        }
    };
}
pub(crate) use conformance;

// Cases of the suite.
pub(crate) use super::hint_conformance::*;
pub(crate) use super::repair_conformance::*;
pub(crate) use super::scan_conformance::*;

pub(super) struct Site<'a> {
    pub(super) folder: tempfile::TempDir,
    open: &'a Open,
    tenure: Tenure,
    ledger: Option<Box<dyn Ledger>>,
}

pub(crate) fn tenure(fence: u64) -> Tenure {
    Tenure::begin(Fence::stored(fence), || ())
}

impl<'a> Site<'a> {
    pub(super) fn new(open: &'a Open) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tenure = tenure(1);
        let ledger = Some(open(folder.path(), &tenure).unwrap());
        Self {
            folder,
            open,
            tenure,
            ledger,
        }
    }

    pub(super) fn reopen(&mut self) {
        self.ledger = None;
        self.ledger = Some((self.open)(self.folder.path(), &self.tenure).unwrap());
    }

    pub(super) fn ledger(&self) -> &dyn Ledger {
        self.ledger.as_deref().unwrap()
    }

    fn paths(&self, state: Option<ManifestState>) -> Vec<String> {
        paths(self.ledger().manifests(state).unwrap())
    }
}

fn paths(rows: Vec<ManifestRow>) -> Vec<String> {
    rows.into_iter().map(|row| row.location.path).collect()
}

fn root(name: &str) -> RootName {
    name.parse().unwrap()
}

fn run(name: &str) -> RunKey {
    RunKey {
        origin: RepositoryId(Uuid::from_u128(7)),
        name: name.parse().unwrap(),
    }
}

pub(super) fn at(nanoseconds: i64) -> Timestamp {
    let base = 1_795_000_000_000_000_000;
    Timestamp::from_nanosecond(base + i128::from(nanoseconds)).unwrap()
}

/// A row that could not be read as far as its header.
fn row(path: &str, state: ManifestState) -> ManifestRow {
    ManifestRow {
        location: Location {
            root: root("main"),
            path: path.to_owned(),
        },
        file: FileIdentity {
            size: 12,
            modified_ns: -5,
            inode: u64::MAX,
        },
        state,
        reason: None,
        hint: None,
        blocker: None,
        summary: None,
        first_seen: at(1),
        decided_at: at(2),
    }
}

fn read_row(path: &str, sequence: u32) -> ManifestRow {
    ManifestRow {
        reason: Some("it is wrong".to_owned()),
        hint: Some("put it right".to_owned()),
        blocker: Some("{}".to_owned()),
        summary: Some(ManifestSummary {
            manifest: ManifestId(Uuid::from_u128(u128::from(sequence))),
            content: Content::Snapshot,
            run: run("u/a"),
            site: "SITE_A".parse().unwrap(),
            generation: Generation { epoch: 2, sequence },
            digest: Some(Sha256([u8::try_from(sequence).unwrap(); 32])),
            key_id: Some(KeyId([4; 16])),
            datasets: Some(1_000_000),
            total_bytes: Some(u64::MAX),
        }),
        ..row(path, ManifestState::Registered)
    }
}

pub(crate) fn an_empty_ledger_answers_nothing(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    assert!(ledger.known_files(&root("main")).unwrap().is_empty());
    assert!(ledger.manifests(None).unwrap().is_empty());
    let nowhere = row("a", ManifestState::Blocked).location;
    assert_eq!(ledger.manifest(&nowhere).unwrap(), None);
    assert!(ledger.findings().unwrap().is_empty());
    assert_eq!(ledger.last_sweep(&root("main")).unwrap(), None);
    assert!(!ledger.forget(&nowhere).unwrap());
}

pub(crate) fn what_is_recorded_is_read_back(open: &Open) {
    let site = Site::new(open);
    let mut header_only = read_row("b", 3);
    if let Some(summary) = &mut header_only.summary {
        summary.content = Content::Removal;
        summary.digest = None;
        summary.key_id = None;
        summary.datasets = None;
        summary.total_bytes = None;
    }
    let rows = [
        row("a", ManifestState::Quarantined),
        header_only,
        read_row("c", 4),
    ];
    site.ledger().record(&rows).unwrap();
    for row in &rows {
        assert_eq!(
            site.ledger().manifest(&row.location).unwrap().as_ref(),
            Some(row)
        );
    }
    let known = site.ledger().known_files(&root("main")).unwrap();
    let expected: Vec<_> = rows
        .iter()
        .map(|row| (row.location.path.clone(), row.file, row.state))
        .collect();
    assert_eq!(known, expected);
    assert!(
        site.ledger()
            .known_files(&root("other"))
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn recording_again_replaces(open: &Open) {
    let site = Site::new(open);
    site.ledger().record(&[read_row("a", 1)]).unwrap();
    let again = row("a", ManifestState::Superseded);
    site.ledger().record(std::slice::from_ref(&again)).unwrap();
    assert_eq!(site.ledger().manifests(None).unwrap(), [again]);
    assert!(site.ledger().of_run(&run("u/a")).unwrap().is_empty());
}

pub(crate) fn a_file_seen_again_keeps_its_row(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let rows = ["a", "b", "c"].map(|path| read_row(path, 1));
    ledger.record(&rows).unwrap();
    let file = FileIdentity {
        size: 12,
        modified_ns: 7,
        inode: 8,
    };
    let seen = [("b".to_owned(), file), ("never".to_owned(), file)];
    ledger.seen_again(&root("main"), &seen).unwrap();
    ledger.seen_again(&root("other"), &seen).unwrap();
    let [a, b, c] = rows;
    let found = ledger.manifests_at(&root("main"), &["c", "never", "b", "a"]);
    assert_eq!(found.unwrap(), [c, ManifestRow { file, ..b }, a]);
    assert_eq!(ledger.manifests_at(&root("other"), &["a"]).unwrap(), []);
}

pub(crate) fn a_forgotten_file_is_new_again(open: &Open) {
    let site = Site::new(open);
    let rows = [
        row("a", ManifestState::Blocked),
        row("b", ManifestState::Blocked),
    ];
    site.ledger().record(&rows).unwrap();
    assert!(site.ledger().forget(&rows[0].location).unwrap());
    assert_eq!(site.paths(None), ["b"]);
}

pub(crate) fn manifests_are_listed_by_state_oldest_decision_first(open: &Open) {
    let site = Site::new(open);
    let decided = |path, nanoseconds, state| ManifestRow {
        decided_at: at(nanoseconds),
        ..row(path, state)
    };
    let rows = [
        decided("a", 30, ManifestState::Blocked),
        decided("b", 10, ManifestState::Blocked),
        decided("c", 20, ManifestState::Untrusted),
    ];
    site.ledger().record(&rows).unwrap();
    assert_eq!(site.paths(Some(ManifestState::Blocked)), ["b", "a"]);
    assert_eq!(site.paths(None), ["b", "c", "a"]);
    assert!(site.paths(Some(ManifestState::Registered)).is_empty());
}

pub(crate) fn pages_of_manifests_follow_each_other(open: &Open) {
    let site = Site::new(open);
    let mut rows = Vec::new();
    for (number, path) in ["e", "b", "d", "a", "c", "f"].into_iter().enumerate() {
        let state = ManifestState::ALL[number % 2];
        let mut row = row(path, state);
        // Some are decided at the same moment.
        row.decided_at = at(i64::try_from(number / 3).unwrap());
        row.location.root = root(["main", "other"][number % 3 % 2]);
        rows.push(row);
    }
    let ledger = site.ledger();
    ledger.record(&rows).unwrap();
    for state in [None, Some(ManifestState::Registered)] {
        for of in [None, Some(root("main"))] {
            let mut all = ledger.manifests(state).unwrap();
            all.retain(|row| of.as_ref().is_none_or(|root| row.location.root == *root));
            for limit in 1..4 {
                let mut paged: Vec<ManifestRow> = Vec::new();
                loop {
                    let after = paged.last().map(|row| (row.decided_at, &row.location));
                    let page = ledger
                        .manifests_after(state, of.as_ref(), after, limit)
                        .unwrap();
                    let is_last = page.len() < limit;
                    paged.extend(page);
                    if is_last {
                        break;
                    }
                }
                assert_eq!(paged, all, "{state:?} {of:?} {limit}");
            }
        }
    }
}

pub(crate) fn manifests_of_a_run_are_listed_by_generation(open: &Open) {
    let site = Site::new(open);
    let rows = [
        read_row("a", 10),
        read_row("b", 2),
        row("c", ManifestState::Blocked),
    ];
    site.ledger().record(&rows).unwrap();
    let of_run = |name| paths(site.ledger().of_run(&run(name)).unwrap());
    assert_eq!(of_run("u/a"), ["b", "a"]);
    assert!(of_run("u/b").is_empty());
}

pub(crate) fn every_state_is_counted(open: &Open) {
    let site = Site::new(open);
    let rows = [
        row("a", ManifestState::Blocked),
        row("b", ManifestState::Superseded),
        row("c", ManifestState::Blocked),
    ];
    site.ledger().record(&rows).unwrap();
    let counts = site.ledger().counts().unwrap();
    assert!(
        counts
            .iter()
            .map(|(state, _)| *state)
            .eq(ManifestState::ALL)
    );
    let counts: Vec<u64> = counts.into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 2, 0, 0, 1]);
}

pub(crate) fn findings_are_counted_until_they_heal(open: &Open) {
    let site = Site::new(open);
    let finding = |subject: &str, seconds, detail: &str| Finding {
        kind: "dimension_differs".to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
        first_seen: at(seconds),
        last_seen: at(seconds),
        times: 1,
    };
    let ledger = site.ledger();
    ledger.find_all(&[]).unwrap();
    let together = [finding("b", 1, "x"), finding("a", 2, "y")];
    ledger.find_all(&together).unwrap();
    ledger.find_all(&[finding("b", 3, "z")]).unwrap();
    let twice = Finding {
        last_seen: at(3),
        times: 2,
        ..finding("b", 1, "z")
    };
    assert_eq!(ledger.findings().unwrap(), [finding("a", 2, "y"), twice]);
    ledger.healed("dimension_differs", "b").unwrap();
    ledger.healed("dimension_differs", "never seen").unwrap();
    assert_eq!(ledger.findings().unwrap(), [finding("a", 2, "y")]);
}

pub(crate) fn findings_of_a_kind_are_listed_by_page_and_heal_together(open: &Open) {
    let site = Site::new(open);
    let finding = |kind: &str, subject: &str| Finding {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        detail: "x".to_owned(),
        first_seen: at(1),
        last_seen: at(1),
        times: 1,
    };
    let ours =
        ["main:a", "main:b", "main:b/é", "main:c"].map(|subject| finding("corrupt", subject));
    let others = [
        finding("corrupt", "mai"),
        finding("corrupt", "main2:b"),
        finding("run_overdue", "main:b"),
    ];
    let ledger = site.ledger();
    ledger.find_all(&[&ours[..], &others].concat()).unwrap();
    let of = |after, limit| {
        ledger
            .findings_of("corrupt", "main:", after, limit)
            .unwrap()
    };
    assert_eq!(of(None, usize::MAX), ours);
    assert_eq!(of(None, 2), ours[..2]);
    assert_eq!(of(Some("main:b"), 2), ours[2..]);
    assert_eq!(of(Some("main:c"), 2), []);
    let healed = ["main:a", "main:c", "main:never seen"].map(str::to_owned);
    ledger.healed_all("corrupt", &healed).unwrap();
    assert_eq!(of(None, usize::MAX), ours[1..3]);
    assert_eq!(ledger.findings().unwrap().len(), 5);
}

pub(crate) fn sweeps_are_remembered(open: &Open) {
    let site = Site::new(open);
    site.ledger().swept(&root("main"), at(1)).unwrap();
    site.ledger().swept(&root("main"), at(2)).unwrap();
    assert_eq!(
        site.ledger().last_sweep(&root("main")).unwrap(),
        Some(at(2))
    );
    assert_eq!(site.ledger().last_sweep(&root("other")).unwrap(), None);
}

pub(crate) fn the_last_registration_is_remembered(open: &Open) {
    let site = Site::new(open);
    assert_eq!(site.ledger().last_registered().unwrap(), None);
    let decided = |path, state, second| ManifestRow {
        decided_at: at(second),
        ..row(path, state)
    };
    let rows = [
        decided("a", ManifestState::Registered, 2),
        decided("b", ManifestState::Registered, 5),
        decided("c", ManifestState::Quarantined, 9),
    ];
    site.ledger().record(&rows).unwrap();
    assert_eq!(site.ledger().last_registered().unwrap(), Some(at(5)));
}

pub(crate) fn rows_forgotten_are_counted(open: &Open) {
    let site = Site::new(open);
    let before = site.ledger().forgotten().unwrap();
    let row = read_row("a", 1);
    site.ledger().record(std::slice::from_ref(&row)).unwrap();
    assert_eq!(site.ledger().forgotten().unwrap(), before);
    assert!(site.ledger().forget(&row.location).unwrap());
    assert!(site.ledger().forgotten().unwrap() > before);
}

pub(crate) fn the_first_manifest_accepted_as_a_generation_is_remembered(open: &Open) {
    let site = Site::new(open);
    let first = read_row("a", 1);
    let summary = first.summary.clone().unwrap();
    let accepted = || {
        site.ledger()
            .accepted_digest(&summary.run, summary.generation)
            .unwrap()
    };
    let mut aside = first.clone();
    aside.state = ManifestState::Quarantined;
    site.ledger().record(&[aside]).unwrap();
    assert_eq!(accepted(), None);
    site.ledger().record(std::slice::from_ref(&first)).unwrap();
    let mut other = first.clone();
    other.summary.as_mut().unwrap().digest = Some(Sha256([0xEE; 32]));
    site.ledger().record(&[other]).unwrap();
    site.ledger().forget(&first.location).unwrap();
    assert_eq!(accepted(), summary.digest);
    assert_eq!(
        site.ledger()
            .accepted_generations(&[&run("u/nobody"), &summary.run])
            .unwrap(),
        [vec![], vec![summary.generation]]
    );
}

pub(crate) fn reopening_keeps_everything(open: &Open) {
    let mut site = Site::new(open);
    site.ledger().record(&[read_row("a", 1)]).unwrap();
    site.ledger().swept(&root("main"), at(1)).unwrap();
    site.reopen();
    assert_eq!(site.ledger().manifests(None).unwrap(), [read_row("a", 1)]);
    assert_eq!(
        site.ledger().last_sweep(&root("main")).unwrap(),
        Some(at(1))
    );
}

pub(crate) fn requests_are_kept_newest_first(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let ask = |number: u32| {
        ledger
            .note_request(&NewRequest {
                at: at(i64::from(number)),
                uid: number.is_multiple_of(2).then_some(number),
                account: "alice".into(),
                what: "wake".into(),
                subject: number.to_string(),
            })
            .unwrap()
    };
    let (first, second) = (ask(1), ask(2));
    assert!(second > first);
    ledger.note_outcome(first, "done").unwrap();
    let rows = ledger.requests(None, 10).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.id,
                row.uid,
                row.subject.as_str(),
                row.outcome.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (second, Some(2), "2", None),
            (first, None, "1", Some("done"))
        ]
    );
    assert_eq!(ledger.requests(Some(second), 10).unwrap().len(), 1);
    assert_eq!(ledger.requests(None, 1).unwrap().len(), 1);
}

fn publication(name: &str, sequence: u32, state: PublicationState) -> Publication {
    Publication {
        run: run(name),
        generation: Generation { epoch: 1, sequence },
        content: Content::Additions,
        root: root("main"),
        scope: (sequence > 1).then(|| "hsc".parse().unwrap()),
        state,
        files: (sequence > 1).then_some(7),
        files_done: 3,
        bytes: None,
        problem: Some("Rucio does not answer".to_owned()),
        hint: None,
        ordered_by: "alice".to_owned(),
        ordered_at: at(10 - i64::from(sequence)),
        changed_at: at(11),
    }
}

pub(crate) fn publications_are_listed_by_run_by_state_and_by_page(open: &Open) {
    use PublicationState::{Ordered, Published};
    let mut site = Site::new(open);
    let rows = [
        publication("u/a", 1, Ordered),
        publication("u/a", 2, Ordered),
        publication("u/b", 1, Published),
    ];
    site.ledger().note_publications(&rows).unwrap();
    site.reopen();
    let ledger = site.ledger();
    assert_eq!(ledger.publications_of(&run("u/a")).unwrap(), rows[..2]);
    let ordered = [rows[1].clone(), rows[0].clone()];
    assert_eq!(ledger.publications_in(Ordered).unwrap(), ordered);
    assert_eq!(ledger.publications_after(None, 2).unwrap(), rows[..2]);
    let after = Some((&rows[1].run, rows[1].generation));
    assert_eq!(ledger.publications_after(after, 2).unwrap(), rows[2..]);
    assert_eq!(ledger.publication_counts().unwrap(), (2, 2));
    let done = publication("u/a", 2, Published);
    ledger
        .note_publications(std::slice::from_ref(&done))
        .unwrap();
    assert_eq!(ledger.overtaken().unwrap(), []);
    let content = Content::Snapshot;
    let newest = publication("u/a", 3, Published);
    let newest = Publication { content, ..newest };
    ledger
        .note_publications(std::slice::from_ref(&newest))
        .unwrap();
    assert_eq!(ledger.overtaken().unwrap(), [run("u/a")]);
    assert_eq!(ledger.publications_in(Ordered).unwrap(), rows[..1]);
    assert_eq!(
        ledger.publications_in(Published).unwrap(),
        [newest, done, rows[2].clone()]
    );
}

pub(crate) fn an_order_leaves_what_is_known_of_a_publication(open: &Open) {
    use PublicationState::{Ordered, Published};
    let site = Site::new(open);
    let stopped = publication("u/a", 2, Ordered);
    let under_way = Publication {
        problem: None,
        ..publication("u/a", 3, Ordered)
    };
    let done = publication("u/a", 4, Published);
    let known = [stopped.clone(), under_way.clone(), done.clone()];
    site.ledger().note_publications(&known).unwrap();
    let order = |sequence| Publication {
        files: None,
        files_done: 0,
        problem: None,
        ordered_by: "bob".to_owned(),
        changed_at: at(20),
        ..publication("u/a", sequence, Ordered)
    };
    let orders = [order(1), order(2), order(3), order(4)];
    site.ledger().order_publications(&orders).unwrap();
    let goes_on = Publication {
        problem: None,
        changed_at: at(20),
        ..stopped
    };
    assert_eq!(
        site.ledger().publications_of(&run("u/a")).unwrap(),
        [order(1), goes_on, under_way, done]
    );
    assert_eq!(site.ledger().publication_counts().unwrap(), (3, 0));
}

pub(crate) fn runs_with_a_manifest_that_nobody_has_ordered_are_listed(open: &Open) {
    let site = Site::new(open);
    let of = |name: &str, sequence, state, content| {
        let mut row = read_row(&format!("{name}-{sequence}"), sequence);
        row.state = state;
        let summary = row.summary.as_mut().unwrap();
        (summary.run, summary.content) = (run(name), content);
        row
    };
    let mut foreign = of("u/f", 1, ManifestState::Registered, Content::Additions);
    foreign.summary.as_mut().unwrap().run.origin = RepositoryId(Uuid::from_u128(8));
    let rows = [
        of("u/b", 1, ManifestState::Registered, Content::Additions),
        of("u/b", 2, ManifestState::Registered, Content::Additions),
        of("u/a", 1, ManifestState::Registered, Content::Removal),
        of("u/c", 1, ManifestState::Registered, Content::Inventory),
        of("u/d", 1, ManifestState::Blocked, Content::Additions),
        foreign,
    ];
    site.ledger().record(&rows).unwrap();
    let origin = run("u/a").origin;
    let to_order = || site.ledger().runs_to_order(origin).unwrap();
    assert_eq!(to_order(), [run("u/a"), run("u/b")]);
    let order = |name, sequence| Publication {
        generation: Generation { epoch: 2, sequence },
        ..publication(name, sequence, PublicationState::Ordered)
    };
    let orders = [order("u/a", 1), order("u/b", 1)];
    site.ledger().order_publications(&orders).unwrap();
    assert_eq!(to_order(), [run("u/b")]);
    site.ledger()
        .order_publications(&[order("u/b", 2)])
        .unwrap();
    assert_eq!(to_order(), []);
}

pub(crate) fn an_old_fence_writes_nothing(open: &Open) {
    let site = Site::new(open);
    site.ledger().record(&[read_row("a", 1)]).unwrap();
    site.ledger().swept(&root("main"), at(1)).unwrap();
    let new = open(site.folder.path(), &tenure(2)).unwrap();
    let finding = Finding {
        kind: "corrupt".to_owned(),
        subject: "a".to_owned(),
        detail: "b".to_owned(),
        first_seen: at(1),
        last_seen: at(1),
        times: 1,
    };
    new.find_all(std::slice::from_ref(&finding)).unwrap();
    let accepted = [(run("u/b"), Generation::FIRST, Sha256([1; 32]))];
    let elsewhere = FileIdentity {
        size: 12,
        modified_ns: 7,
        inode: 8,
    };
    let seen = [("a".to_owned(), elsewhere)];
    let request = NewRequest {
        at: at(1),
        uid: None,
        account: "alice".into(),
        what: "wake".into(),
        subject: String::new(),
    };
    let asked = new.note_request(&request).unwrap();
    let old = site.ledger();
    for (method, refused) in [
        ("record", old.record(&[read_row("b", 2)])),
        ("forget", old.forget(&read_row("a", 1).location).map(drop)),
        ("accept", old.accept(&accepted)),
        ("find_all", old.find_all(&[finding])),
        ("healed", old.healed("corrupt", "a")),
        ("healed_all", old.healed_all("corrupt", &["a".to_owned()])),
        ("seen_again", old.seen_again(&root("main"), &seen)),
        ("note_request", old.note_request(&request).map(drop)),
        ("note_outcome", old.note_outcome(asked, "done")),
        (
            "order_publications",
            old.order_publications(&[publication("u/a", 1, PublicationState::Ordered)]),
        ),
        (
            "note_publications",
            old.note_publications(&[publication("u/a", 1, PublicationState::Ordered)]),
        ),
        ("swept", old.swept(&root("main"), at(2))),
    ] {
        let fenced = refused.as_ref().is_err_and(LedgerError::is_fenced);
        assert!(fenced, "{method}: {refused:?}");
    }
    for ledger in [old, &*new] {
        assert_eq!(ledger.manifests(None).unwrap(), [read_row("a", 1)]);
        assert_eq!(ledger.findings().unwrap().len(), 1);
        assert_eq!(ledger.findings().unwrap()[0].times, 1);
        assert_eq!(ledger.last_sweep(&root("main")).unwrap(), Some(at(1)));
        let requests = ledger.requests(None, 10).unwrap();
        let noted: Vec<_> = requests.iter().map(|row| (row.id, &row.outcome)).collect();
        assert_eq!(noted, [(asked, &None)]);
        let accepted = ledger.accepted_generations(&[&run("u/b")]).unwrap();
        assert_eq!(accepted, [[]]);
        assert_eq!(ledger.publications_after(None, 1).unwrap(), []);
    }
    let again = open(site.folder.path(), &site.tenure);
    assert!(again.is_err_and(|error| error.is_fenced()));
    new.swept(&root("main"), at(3)).unwrap();
}
