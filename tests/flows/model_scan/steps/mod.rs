//! What is done to a site, at random.

mod storage;

mod arrivals;

mod removals;

mod scans;

mod repairs;

mod meddling;

mod repaired;

mod operator;

mod clock;

mod choice;
