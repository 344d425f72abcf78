//! Any bytes: the reader ends with an error or a whole manifest, in bounded memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runsync_manifest::limits::Limits;
use runsync_manifest::summary::Summary;

fuzz_target!(|bytes: &[u8]| {
    let Ok(summary) = Summary::read(bytes, Limits::default()) else {
        return;
    };
    let lines: u64 = summary.dataset_types.iter().map(|counted| counted.lines).sum();
    assert_eq!(lines, summary.trailer.counts.dataset);
});
