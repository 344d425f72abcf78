//! How a task ends.

use std::process::ExitCode;

use crate::out::say;

/// What a task found.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It measured something against a bar.
    Measured(Verdict),
    /// It ran to its end and another program has said so.
    Passed,
    /// The same task ran in a process of its own, which has said everything and met its bar or not.
    Elsewhere {
        /// Whether that process was content.
        met: bool,
    },
}

/// A measurement beside its bar.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The task's name.
    pub(crate) task: &'static str,
    /// What was measured, in words and figures.
    pub(crate) measured: String,
    /// What it had to reach.
    pub(crate) bar: String,
    /// Whether it did.
    pub(crate) met: bool,
}

impl Outcome {
    /// Prints the last line and turns the outcome into the process's exit code.
    pub(crate) fn conclude(self) -> ExitCode {
        let met = match self {
            Self::Measured(verdict) => {
                say!(
                    "{}: {} (bar: {})",
                    verdict.task,
                    verdict.measured,
                    verdict.bar
                );
                verdict.met
            }
            Self::Passed => true,
            Self::Elsewhere { met } => met,
        };
        if met {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
