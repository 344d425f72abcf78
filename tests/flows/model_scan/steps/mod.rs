//! What is done to a site, at random.

mod storage;

mod data;

mod scans;

mod repairs;

mod clock;

mod choice;
