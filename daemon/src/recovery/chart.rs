//! Bars of numbers, as SVG inside a page: no script, no font, no style but the page's classes.

use maud::{Markup, html};

use super::printed::{short, shown};
use crate::ledger::scans::DriftKind;

/// Width of a chart, in its own units; a page scales it.
const WIDTH: u32 = 900;
/// Of these, what labels get, and what numbers after the bars get.
const LABELS: u32 = 320;
const NUMBERS: u32 = 110;
/// Height of a bar with its gap, and of the bar alone.
const STEP: u32 = 24;
const BAR: u32 = 16;
/// Letters of a label that fit beside the bars.
const LETTERS: usize = 44;

/// One bar: its parts by kind of drift stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bar {
    /// What it is about.
    pub(super) label: String,
    /// Its parts.
    pub(super) parts: Vec<(DriftKind, u64)>,
    /// Its sum, as people read it.
    pub(super) sum: String,
}

impl Bar {
    fn sum(&self) -> u64 {
        self.parts.iter().map(|(_, part)| part).sum()
    }
}

/// Bars under each other, all to one scale. `title` says what they show to whoever does not see them.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Markup {
    let height = STEP * u32::try_from(bars.len()).unwrap_or(u32::MAX / STEP) + 4;
    let longest = bars.iter().map(Bar::sum).max().unwrap_or(0).max(1);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            @for (bar, top) in bars.iter().zip((2..).step_by(STEP as usize)) {
                (one(bar, top, longest))
            }
        }
    }
}

fn one(bar: &Bar, top: u32, longest: u64) -> Markup {
    let room = WIDTH - LABELS - NUMBERS;
    let to_scale = |part: u64| -> u64 {
        let scaled = u128::from(part) * u128::from(room) / u128::from(longest);
        u64::try_from(scaled).unwrap_or(u64::from(room))
    };
    let mut parts = Vec::new();
    let mut at = 0;
    for (kind, part) in &bar.parts {
        let (from, until) = (to_scale(at), to_scale(at.saturating_add(*part)));
        // What is there is seen, however little it is.
        let width = (until - from).max(u64::from(*part > 0));
        parts.push((kind, part, u64::from(LABELS) + from, width));
        at = at.saturating_add(*part);
    }
    let middle = top + BAR - 4;
    let end = u64::from(LABELS) + to_scale(at) + 6;
    html! {
        g {
            title { (shown(&bar.label)) ": " (bar.sum) }
            text x=(LABELS - 8) y=(middle) class="label" { (short(&bar.label, LETTERS)) }
            @for (kind, part, x, width) in parts {
                rect x=(x) y=(top) width=(width) height=(BAR) class=(kind) {
                    title { (part) " " (kind) }
                }
            }
            text x=(end) y=(middle) { (bar.sum) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_beside_each_other_and_fit() {
        let bar = |parts: &[(DriftKind, u64)]| Bar {
            label: "<script>".to_owned(),
            parts: parts.to_vec(),
            sum: "sum".to_owned(),
        };
        let chart = bars(
            "a & b",
            &[
                bar(&[
                    (DriftKind::Lost, u64::MAX / 2),
                    (DriftKind::Dark, u64::MAX / 2),
                ]),
                bar(&[(DriftKind::Corrupt, 1)]),
                bar(&[]),
            ],
        )
        .into_string();
        assert!(
            chart.contains("a &amp; b") && !chart.contains("<script"),
            "{chart}"
        );
        assert!(
            chart.contains("x=\"320\" y=\"2\" width=\"235\" height=\"16\" class=\"lost\""),
            "{chart}"
        );
        assert!(
            chart.contains("width=\"1\" height=\"16\" class=\"corrupt\""),
            "{chart}"
        );
    }
}
