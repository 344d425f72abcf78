use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;
use crate::clock::SystemClock;

#[derive(Debug, thiserror::Error)]
#[error("cannot list manifests")]
struct CannotList(#[source] std::io::Error);

type Script = Arc<dyn Fn(u64, &Pulse) -> Result<Next, StepError> + Send + Sync>;

/// A worker whose nth step (over all its lives) does what the script says, and reports it.
struct Scripted {
    script: Script,
    taken: Arc<AtomicU64>,
    report: mpsc::Sender<u64>,
}

impl Worker for Scripted {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let number = self.taken.fetch_add(1, Ordering::SeqCst);
        self.report.blocking_send(number).unwrap();
        (self.script)(number, pulse)
    }
}

struct Scene {
    driver: Driver,
    wake: Wake,
    lives: Arc<AtomicU64>,
    steps: mpsc::Receiver<u64>,
}

fn scene(script: impl Fn(u64, &Pulse) -> Result<Next, StepError> + Send + Sync + 'static) -> Scene {
    scene_within(Duration::from_secs(60), script)
}

fn scene_within(
    back_off_max: Duration,
    script: impl Fn(u64, &Pulse) -> Result<Next, StepError> + Send + Sync + 'static,
) -> Scene {
    let driver = Driver::new(Arc::new(SystemClock));
    let wake = Wake::new();
    let (report, steps) = mpsc::channel(100);
    let script: Script = Arc::new(script);
    let taken = Arc::new(AtomicU64::new(0));
    let lives = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lives);
    let back_off = BackOff {
        max: back_off_max,
        ..BackOff::default()
    };
    driver.start_within("scripted", wake.clone(), back_off, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::new(Scripted {
            script: Arc::clone(&script),
            taken: Arc::clone(&taken),
            report: report.clone(),
        })
    });
    Scene {
        driver,
        wake,
        lives,
        steps,
    }
}

impl Scene {
    async fn until_step(&mut self, number: u64) {
        while self.steps.recv().await.unwrap() != number {}
    }

    /// Waits, in paused time, until the worker rests.
    async fn until(&self, activity: Activity) -> WorkerStatus {
        loop {
            let status = self.driver.statuses().remove(0);
            if status.activity == activity {
                return status;
            }
            // A step runs on a thread of its own, which paused time does not know.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_must_not_be_late_is_tried_again_soon_however_often_it_fails() {
    const SOON: Duration = Duration::from_millis(125);
    let mut scene = scene_within(SOON, |_, _| {
        Err(CannotList(std::io::Error::other("gone")).into())
    });
    scene.until_step(0).await;
    let start = Instant::now();
    scene.until_step(20).await;
    assert_eq!(start.elapsed(), SOON * 20);
}

#[tokio::test(start_paused = true)]
async fn a_worker_steps_again_until_it_idles_and_then_waits_for_a_wake_up() {
    let mut scene = scene(|number, _| {
        Ok(if number < 3 {
            Next::Again
        } else {
            Next::Idle(None)
        })
    });
    scene.until_step(3).await;
    let status = scene.until(Activity::Idle).await;
    assert_eq!((status.steps, status.failures), (4, 0));
    assert!(status.last_success.is_some() && status.last_error.is_none());
    scene.wake.wake();
    scene.until_step(4).await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_during_a_step_is_not_lost_and_many_are_one() {
    let wakes: Arc<std::sync::Mutex<Option<Wake>>> = Arc::default();
    let inner = Arc::clone(&wakes);
    let mut scene = scene(move |number, _| {
        if number == 1 {
            for _ in 0..5 {
                inner.lock().unwrap().as_ref().unwrap().wake();
            }
        }
        Ok(Next::Idle(None))
    });
    *wakes.lock().unwrap() = Some(scene.wake.clone());
    scene.until_step(0).await;
    scene.wake.wake();
    scene.until_step(2).await;
    scene.until(Activity::Idle).await;
    assert!(scene.steps.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_steps_when_its_time_has_come() {
    let period = Duration::from_secs(3600);
    let mut scene = scene(move |_, _| Ok(Next::Idle(Some(period))));
    scene.until_step(0).await;
    let begin = Instant::now();
    scene.until_step(1).await;
    assert!(begin.elapsed() >= Duration::from_secs(3599));
}

#[tokio::test(start_paused = true)]
async fn a_failing_worker_is_tried_ever_more_slowly_and_keeps_its_last_error() {
    let mut scene = scene(|number, _| {
        if number < 8 {
            return Err(Box::new(CannotList(std::io::Error::from_raw_os_error(5))));
        }
        Ok(Next::Idle(None))
    });
    let mut last = Instant::now();
    let mut waits = Vec::new();
    for number in 0..=8 {
        scene.until_step(number).await;
        waits.push(last.elapsed().as_secs());
        last = Instant::now();
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    let status = scene.until(Activity::Idle).await;
    assert_eq!((status.steps, status.failures), (1, 8));
    assert_eq!(status.failures_in_a_row, 0);
    let error = status.last_error.unwrap();
    assert!(
        error.starts_with("cannot list manifests: Input/output error"),
        "{error}"
    );
    assert_eq!(scene.lives.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_does_not_cut_a_back_off_short() {
    let mut scene = scene(|_, _| Err("no".into()));
    scene.until_step(0).await;
    scene.until(Activity::BackingOff).await;
    let begin = Instant::now();
    scene.wake.wake();
    scene.until_step(1).await;
    assert!(begin.elapsed() >= Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_is_made_anew() {
    let mut scene = scene(|number, _| {
        assert!(number != 0, "step {number} is unlucky");
        Ok(Next::Idle(None))
    });
    scene.until_step(1).await;
    let status = scene.until(Activity::Idle).await;
    assert_eq!(scene.lives.load(Ordering::SeqCst), 2);
    assert_eq!(
        status.last_error.as_deref(),
        Some("panicked: step 0 is unlucky")
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_waits_at_once_and_lets_a_step_run_to_its_end() {
    let mut scene = scene(|number, pulse| {
        if number == 1 {
            while !pulse.is_stopping() {
                std::thread::yield_now();
            }
        }
        Ok(Next::Idle(None))
    });
    scene.until_step(0).await;
    scene.wake.wake();
    scene.until_step(1).await;
    scene.driver.stop(Duration::from_secs(5)).await.unwrap();
    let status = scene.driver.statuses().remove(0);
    assert_eq!(status.activity, Activity::Stopped);
    assert_eq!(status.steps, 2);
}

#[tokio::test]
async fn a_step_that_does_not_end_is_named_when_stopping() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let mut scene = scene(move |_, _| {
        held.lock().unwrap().recv().ok();
        Ok(Next::Idle(None))
    });
    scene.until_step(0).await;
    let error = scene.driver.stop(Duration::from_millis(10)).await;
    assert_eq!(error, Err(StillRunning(vec!["scripted".to_owned()])));
    drop(release);
    timeout(Duration::from_secs(60), scene.driver.stop(Duration::MAX))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_step_without_a_beat_is_stalled_and_an_idle_worker_is_not() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let patience = Duration::from_secs(30);
    let mut scene = scene(move |number, pulse| {
        if number == 1 {
            held.lock().unwrap().recv().unwrap();
            pulse.beat();
            held.lock().unwrap().recv().unwrap();
        }
        Ok(Next::Idle(None))
    });
    scene.until_step(0).await;
    scene.until(Activity::Idle).await;
    tokio::time::advance(Duration::from_secs(86_400)).await;
    assert!(scene.driver.stalled(patience).is_empty());
    scene.wake.wake();
    scene.until_step(1).await;
    tokio::time::advance(patience + Duration::from_secs(1)).await;
    assert_eq!(scene.driver.stalled(patience), ["scripted"]);
    release.send(()).unwrap();
    while !scene.driver.stalled(patience).is_empty() {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    scene.until(Activity::Idle).await;
}
