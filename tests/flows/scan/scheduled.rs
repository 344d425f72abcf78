//! Scans by schedule, with a clock that is moved by hand.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runsync::jobs::{Ending, GoOn, Job, JobStatus, JobWorker, NotBegun, Occasion, Work, statuses};
use runsync::ledger::jobs::{JobOutcome, JobRow};
use runsync::recovery::{Limits, Order, RootScans, root_scans};
use runsync::worker::StepError;
use runsync_config::jobs::Missed;

use crate::scene::{DAY, PATHS, found, order, scan, site_with};
use crate::support::{OpenSite, TestSite, rename};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn job(more: &str) -> String {
    format!("[[schedule]]\nname = \"hourly\"\njob = \"scan\"\nat = \"0 0 * * * *\"\n{more}")
}

/// A site with a job that is done each hour; `root` is TOML of the root.
fn site(root: &str, more: &str) -> TestSite {
    let site = site_with("", DAY * 2);
    site.configure("size", &format!("{root}\n{}", job(more)));
    // Five minutes past the hour.
    let past = u64::try_from(site.now().as_second()).unwrap() % 3600;
    site.pass(Duration::from_secs(3600 - past + 300));
    site
}

fn worker(open: &OpenSite) -> JobWorker {
    let scheduled = open.assembly.jobs[0].clone();
    JobWorker::new(scheduled.job, scheduled.work)
}

fn always() -> GoOn {
    Arc::new(|| ControlFlow::Continue(()))
}

fn status(site: &TestSite, open: &OpenSite) -> JobStatus {
    let mut all = statuses(&site.site(), open.ledger(), site.now()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn seen(site: &TestSite, open: &OpenSite) -> RootScans {
    let mut all = root_scans(&site.site().roots, open.ledger(), site.now()).unwrap();
    all.remove(0)
}

#[test]
fn a_job_is_done_at_its_times_and_what_came_of_it_is_kept() {
    let site = site("", "");
    let open = site.open();
    let mut worker = worker(&open);
    assert!(!worker.work(&always()).unwrap(), "it is new");
    assert_eq!(status(&site, &open).runs, 0);
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    assert!(!worker.work(&always()).unwrap(), "its time is done with");
    let done = status(&site, &open);
    assert_eq!((done.outcome, done.runs), (Some(JobOutcome::Done), 1));
    assert_eq!(done.succeeded_at, Some(site.now()));
    assert_eq!(
        done.detail.unwrap(),
        "root main: 8 paths met, the pass is through, 0 findings"
    );
    fs::remove_file(site.root().join(PATHS[3])).unwrap();
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    let done = status(&site, &open);
    assert_eq!((done.outcome, done.runs), (Some(JobOutcome::Found), 2));
    // A root that is away has the job fail; the last success stays.
    let success = done.succeeded_at;
    rename(&site.root(), &site.folder.path().join("away"));
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    let failed = status(&site, &open);
    assert_eq!(
        (failed.outcome, failed.failures),
        (Some(JobOutcome::Failed), 1)
    );
    assert_eq!((failed.runs, failed.succeeded_at), (3, success));
    assert_eq!(found(&open).len(), 1);
}

#[test]
fn times_that_passed_while_nobody_was_there_are_made_up_for_once_or_skipped() {
    for (more, made_up) in [("", true), ("missed = \"skip\"", false)] {
        let site = site("", more);
        let open = site.open();
        assert!(!worker(&open).work(&always()).unwrap());
        drop(open);
        site.pass(HOUR * 5);
        let open = site.open();
        assert!(status(&site, &open).overdue);
        let mut worker = worker(&open);
        assert_eq!(worker.work(&always()).unwrap(), made_up, "{more}");
        assert!(!worker.work(&always()).unwrap(), "once");
        assert_eq!(status(&site, &open).runs, u64::from(made_up));
        assert!(!status(&site, &open).overdue);
        site.pass(HOUR);
        assert!(worker.work(&always()).unwrap());
    }
}

#[test]
fn a_job_that_was_broken_off_is_due_again_and_goes_on() {
    let site = site("", "");
    let open = site.open();
    assert!(!worker(&open).work(&always()).unwrap());
    site.pass(HOUR);
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let stops: GoOn = Arc::new(move || {
        if counter.fetch_add(1, Ordering::SeqCst) < 4 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(worker(&open).work(&stops).unwrap());
    let broken = status(&site, &open);
    assert_eq!(
        (broken.outcome, broken.runs),
        (Some(JobOutcome::Interrupted), 0)
    );
    let far = seen(&site, &open);
    assert!(
        far.pass_since.is_some() && far.met > 0 && far.met < 8,
        "{far:?}"
    );
    drop(open);
    let open = site.open();
    assert!(worker(&open).work(&always()).unwrap());
    let whole = seen(&site, &open);
    assert_eq!((whole.seen_since, whole.whole), (far.pass_since, Some(8)));
}

#[derive(Debug)]
struct Nested(Arc<Job>);

impl Work for Nested {
    fn run(&self, occasion: Occasion, go_on: &GoOn) -> Result<Ending, StepError> {
        assert!(occasion.next.is_some() && go_on().is_continue());
        let again = self.0.perform(|_| unreachable!("it is under way"));
        Ok(Ending {
            outcome: JobOutcome::Done,
            detail: again.unwrap_err().to_string(),
        })
    }
}

#[test]
fn a_job_is_never_under_way_twice() {
    let site = site("", "");
    let open = site.open();
    let job = Arc::clone(&open.assembly.jobs[0].job);
    assert_eq!(job.missed, Missed::Run);
    let work = Arc::new(Nested(Arc::clone(&job)));
    let mut worker = JobWorker::new(job, work);
    assert!(!worker.work(&always()).unwrap());
    site.pass(HOUR * 2);
    assert!(worker.work(&always()).unwrap());
    assert_eq!(status(&site, &open).detail.unwrap(), "the job is under way");
    assert!(!worker.work(&always()).unwrap());
}

#[test]
fn everything_is_seen_in_the_period_a_share_at_a_time() {
    let site = site("scan_period = \"8h\"", "");
    let open = site.open();
    let mut worker = worker(&open);
    assert!(!worker.work(&always()).unwrap());
    let begun = site.now() + jiff::SignedDuration::from_hours(1);
    for hour in 1..=8 {
        site.pass(HOUR);
        assert!(worker.work(&always()).unwrap());
        let seen = seen(&site, &open);
        assert!(!seen.behind, "hour {hour}");
        if hour < 8 {
            assert_eq!(
                (seen.met, seen.pass_since),
                (hour, Some(begun)),
                "hour {hour}"
            );
        } else {
            assert_eq!((seen.seen_since, seen.whole), (Some(begun), Some(8)));
        }
    }
    // The next pass follows, and is behind where nobody goes on with it.
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    assert_eq!(seen(&site, &open).met, 1);
    site.pass(HOUR * 9);
    assert!(seen(&site, &open).behind);
    // All that is left is caught up with at once.
    assert!(worker.work(&always()).unwrap());
    let caught_up = seen(&site, &open);
    assert_eq!((caught_up.pass_since, caught_up.behind), (None, false));
}

/// Changes what is written down of the job.
fn rewrite(open: &OpenSite, change: impl FnOnce(&mut JobRow)) {
    let mut row = open.ledger().jobs().unwrap().remove(0);
    change(&mut row);
    open.ledger().note_job(&row).unwrap();
}

#[test]
fn a_job_of_a_clock_that_was_ahead_is_done_again() {
    let ahead = jiff::SignedDuration::from_hours(24 * 400);
    for again in [false, true] {
        let site = site("", "");
        let open = site.open();
        let mut worker = worker(&open);
        assert!(!worker.work(&always()).unwrap());
        rewrite(&open, |row| row.mark = site.now() + ahead);
        assert!(status(&site, &open).overdue);
        if again {
            worker = self::worker(&open);
        }
        assert!(!worker.work(&always()).unwrap());
        assert!(!status(&site, &open).overdue);
        site.pass(HOUR);
        assert!(worker.work(&always()).unwrap(), "begun again: {again}");
    }
}

/// What a kill leaves of a job that was begun now.
fn kill(site: &TestSite, open: &OpenSite) {
    rewrite(open, |row| {
        row.begun_at = Some(site.now());
        row.ended_at = None;
    });
}

#[test]
fn a_job_that_was_broken_off_is_not_skipped() {
    let site = site("", "missed = \"skip\"");
    let open = site.open();
    assert!(!worker(&open).work(&always()).unwrap());
    site.pass(HOUR);
    let stops: GoOn = Arc::new(|| ControlFlow::Break(()));
    let job = Arc::clone(&open.assembly.jobs[0].job);
    let work = Arc::clone(&open.assembly.jobs[0].work);
    let ended = job.perform(|occasion| work.run(occasion, &stops));
    assert_eq!(ended.unwrap().unwrap().outcome, JobOutcome::Interrupted);
    assert!(worker(&open).work(&always()).unwrap(), "it was stopped");
    assert_eq!(status(&site, &open).runs, 1);
    site.pass(HOUR);
    kill(&site, &open);
    assert!(worker(&open).work(&always()).unwrap(), "it was killed");
    assert_eq!(status(&site, &open).runs, 2);
}

#[test]
fn a_job_whose_process_dies_each_time_is_not_under_way_and_overdue() {
    let site = site("", "");
    let open = site.open();
    assert!(!worker(&open).work(&always()).unwrap());
    site.pass(HOUR);
    kill(&site, &open);
    assert!(status(&site, &open).under_way);
    let no: GoOn = Arc::new(|| ControlFlow::Break(()));
    assert!(!worker(&open).work(&no).unwrap());
    let died = status(&site, &open);
    assert_eq!((died.under_way, died.runs), (false, 0));
    assert_eq!(died.outcome, Some(JobOutcome::Interrupted));
    assert!(!died.overdue, "it is begun again soon");
    site.pass(HOUR * 2);
    kill(&site, &open);
    assert!(!worker(&open).work(&no).unwrap());
    assert!(status(&site, &open).overdue);
    assert!(worker(&open).work(&always()).unwrap());
    assert!(!status(&site, &open).overdue);
}

#[test]
fn a_job_whose_row_cannot_be_read_is_not_begun_and_nothing_of_it_is_forgotten() {
    let site = site("", "");
    let open = site.open();
    let mut worker = worker(&open);
    assert!(!worker.work(&always()).unwrap());
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    let before = open.ledger().jobs().unwrap();
    let ledger = site.folder.path().join("state/ledger.sqlite3");
    let outcome = |word: &str| {
        let database = rusqlite::Connection::open(&ledger).unwrap();
        let changed = database.execute("UPDATE job SET outcome = ?1", [word]);
        assert_eq!(changed.unwrap(), 1);
    };
    outcome("odd");
    let job = &open.assembly.jobs[0].job;
    let refused = job.perform(|_| unreachable!("it is not begun"));
    assert!(matches!(refused, Err(NotBegun::Ledger(_))), "{refused:?}");
    outcome("done");
    assert_eq!(open.ledger().jobs().unwrap(), before);
}

#[test]
fn a_pass_goes_on_though_others_have_read_less_of_it() {
    let more = "checksum = \"sampled\"\nsample = \"50%\"";
    let site = site("scan_period = \"8h\"", more);
    let open = site.open();
    let mut worker = worker(&open);
    assert!(!worker.work(&always()).unwrap());
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    let begun = seen(&site, &open).pass_since;
    let bare = Order {
        limits: Limits {
            objects: Some(1),
            ..Limits::default()
        },
        ..order()
    };
    assert_eq!(scan(&open, &bare).counts.share, Some(0.0));
    site.pass(HOUR * 2);
    assert!(worker.work(&always()).unwrap());
    let gone_on = seen(&site, &open);
    assert_eq!((gone_on.pass_since, gone_on.met), (begun, 3));
}

#[test]
fn a_root_that_was_never_scanned_is_behind_when_its_period_has_passed() {
    let site = site("scan_period = \"8h\"", "");
    let open = site.open();
    assert!(!seen(&site, &open).behind);
    site.pass(HOUR * 9);
    assert!(seen(&site, &open).behind);
    let mut worker = worker(&open);
    assert!(!worker.work(&always()).unwrap());
    site.pass(HOUR);
    assert!(worker.work(&always()).unwrap());
    assert!(!seen(&site, &open).behind, "its pass is under way");
}
