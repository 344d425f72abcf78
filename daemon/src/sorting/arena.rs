//! Records in memory, one after another, and how they are sorted there.

use std::cmp::Ordering;
use std::io;

/// Records one after another, and where each lies.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// A record's place, with some of its bytes beside it: most comparisons end there.
#[derive(Debug, Clone, Copy)]
struct Place {
    prefix: u64,
    start: u32,
    length: u32,
}

impl Arena {
    pub(super) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let start = u32::try_from(self.bytes.len())
            .map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, "an arena of 4 GiB"))?;
        self.places.push(Place {
            prefix: 0,
            start,
            length: length(record)?,
        });
        self.bytes.extend_from_slice(record);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    pub(super) fn get(&self, position: usize) -> &[u8] {
        self.places
            .get(position)
            .map_or(&[], |place| record_at(&self.bytes, *place))
    }

    /// Sorts the records, which all have the same first `common` bytes.
    pub(super) fn sort(&mut self, common: usize) {
        let bytes = &self.bytes;
        for place in &mut self.places {
            place.prefix = prefix(record_at(bytes, *place), common);
        }
        self.places.sort_unstable_by(|a, b| {
            a.prefix
                .cmp(&b.prefix)
                .then_with(|| compare(record_at(bytes, *a), record_at(bytes, *b), common))
        });
    }
}

fn record_at(bytes: &[u8], place: Place) -> &[u8] {
    let start = place.start as usize;
    bytes
        .get(start..start + place.length as usize)
        .unwrap_or_default()
}

/// A record's length as it stands on disk.
pub(super) fn length(record: &[u8]) -> io::Result<u32> {
    u32::try_from(record.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of 4 GiB or more"))
}

/// The eight bytes after the first `common`, as a number that compares like them.
pub(super) fn prefix(record: &[u8], common: usize) -> u64 {
    let rest = record.get(common..).unwrap_or_default();
    if let Some(first) = rest.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// Compares records that have the same first `common` bytes.
pub(super) fn compare(a: &[u8], b: &[u8], common: usize) -> Ordering {
    a.get(common..).cmp(&b.get(common..))
}
