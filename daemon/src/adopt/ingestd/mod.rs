//! Reads the configuration of `ctrl_ingestd`, and says the same in the words of a site's.
//!
//! The file is YAML with `brokers`, `group_id`, `num_messages`, `timeout`, `client_id`, `butler_repo` and, by topic,
//! `rucio_prefix` and `fs_prefix` (`python/lsst/ctrl/ingestd/config.py` of `ctrl_ingestd`); earlier ones have `rses` for
//! `topics`, `repo` below `butler`, and brokers in one text. What else is there is refused: it may mean something that
//! would be lost.

mod read;

mod toml;

pub use self::read::{Choice, Ingestd, Topic};

#[cfg(test)]
mod tests;
