//! Blocks on a thread of its own, while whoever asked shows that they are alive and may break off.
//!
//! A request to Rucio may take as long as several tries do. Whoever hands hints on can only be asked on
//! the thread that they called from.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// Asked from time to time; may break off.
pub(crate) type GoOn<'g> = dyn FnMut() -> ControlFlow<()> + 'g;

/// How often the caller is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Whether work is to be broken off; clones tell of the same work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    pub(crate) fn go_on(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Does the work, which asks [`Ending::go_on`], and asks `go_on` meanwhile.
pub(crate) fn beside<T: Send>(
    go_on: &mut GoOn<'_>,
    work: impl FnOnce(&Ending) -> T + Send,
) -> thread::Result<T> {
    let ending = Ending::default();
    let (tell, told) = sync_channel::<()>(0);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            // Dropped with the work, however that ends.
            let _tell = tell;
            work(&ending)
        });
        while told.recv_timeout(ASK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if go_on().is_break() {
                ending.0.store(true, Ordering::SeqCst);
            }
        }
        working.join()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_asked_while_work_is_done_and_may_break_it_off() {
        let mut asked = 0;
        let done = beside(
            &mut || {
                asked += 1;
                if asked < 3 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
            |ending| {
                while ending.go_on().is_continue() {
                    thread::yield_now();
                }
                "broken off"
            },
        );
        assert_eq!(done.unwrap(), "broken off");
        assert!(asked >= 3);
    }

    #[test]
    fn work_that_is_done_at_once_is_not_waited_for() {
        let mut never = || ControlFlow::Continue(());
        assert_eq!(beside(&mut never, |_| 7).unwrap(), 7);
    }
}
