//! Rows as bytes whose order is the order of their keys.
//!
//! Keys stand first. Texts in keys end with a NUL, which no name, path or canonical data ID
//! can hold, so a shorter text sorts before a longer one that it starts.

use std::io;

use runsync_manifest::checksum::{Adler32, Checksums, Md5, Sha256};
use runsync_manifest::name::DatasetId;
use uuid::Uuid;

use crate::registry::record::{ClaimRow, DataIdRow, PathRow};

const HAS_MD5: u8 = 1;
const HAS_SHA256: u8 = 2;
const HAS_FORMATTER: u8 = 4;

/// Writes a claim with the key (UUID, component).
pub(super) fn claim(row: &ClaimRow<'_>, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(row.uuid.0.as_bytes());
    text(row.component, to);
    to.extend_from_slice(&index_bytes(row.dataset_type));
    text(row.data_id, to);
    text(row.path, to);
    to.extend_from_slice(&row.size.to_be_bytes());
    checksums(&row.checksums, row.formatter.is_some(), to);
    to.extend_from_slice(row.formatter.unwrap_or_default().as_bytes());
}

/// Reads what [`claim`] wrote.
pub(super) fn read_claim(bytes: &[u8]) -> io::Result<ClaimRow<'_>> {
    let mut rest = Rest(bytes);
    let uuid = rest.uuid()?;
    let component = rest.text()?;
    let dataset_type = rest.index()?;
    let data_id = rest.text()?;
    let path = rest.text()?;
    let size = u64::from_be_bytes(rest.array()?);
    let (checksums, has_formatter) = rest.checksums()?;
    let formatter = has_formatter.then(|| utf8(rest.0)).transpose()?;
    Ok(ClaimRow {
        uuid,
        component,
        dataset_type,
        data_id,
        path,
        size,
        checksums,
        formatter,
    })
}

/// Writes a dataset with the key (dataset type, data ID).
pub(super) fn data_id(row: &DataIdRow<'_>, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&index_bytes(row.dataset_type));
    text(row.data_id, to);
    to.extend_from_slice(row.uuid.0.as_bytes());
}

/// Reads what [`data_id`] wrote.
pub(super) fn read_data_id(bytes: &[u8]) -> io::Result<DataIdRow<'_>> {
    let mut rest = Rest(bytes);
    Ok(DataIdRow {
        dataset_type: rest.index()?,
        data_id: rest.text()?,
        uuid: rest.uuid()?,
    })
}

/// Writes a claim with the key (path, UUID, component).
pub(super) fn path(row: &PathRow<'_>, to: &mut Vec<u8>) {
    to.clear();
    text(row.path, to);
    to.extend_from_slice(row.uuid.0.as_bytes());
    text(row.component, to);
    to.extend_from_slice(&row.size.to_be_bytes());
    checksums(&row.checksums, false, to);
}

/// Reads what [`path`] wrote.
pub(super) fn read_path(bytes: &[u8]) -> io::Result<PathRow<'_>> {
    let mut rest = Rest(bytes);
    let path = rest.text()?;
    let uuid = rest.uuid()?;
    let component = rest.text()?;
    let size = u64::from_be_bytes(rest.array()?);
    let (checksums, _) = rest.checksums()?;
    Ok(PathRow {
        path,
        uuid,
        component,
        size,
        checksums,
    })
}

/// Writes a dimension key: element, then canonical key.
pub(super) fn dimension_key(element: &str, key: &[u8], to: &mut Vec<u8>) {
    to.clear();
    text(element, to);
    to.extend_from_slice(key);
}

/// Reads what [`dimension_key`] wrote.
pub(super) fn read_dimension_key(bytes: &[u8]) -> io::Result<(&str, &str)> {
    let mut rest = Rest(bytes);
    Ok((rest.text()?, utf8(rest.0)?))
}

fn text(value: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(value.as_bytes());
    to.push(0);
}

/// A manifest's header line bounds its dataset types far below 65,536.
fn index_bytes(index: usize) -> [u8; 4] {
    u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes()
}

fn checksums(of: &Checksums, has_formatter: bool, to: &mut Vec<u8>) {
    let mut flags = if has_formatter { HAS_FORMATTER } else { 0 };
    flags |= if of.md5.is_some() { HAS_MD5 } else { 0 };
    flags |= if of.sha256.is_some() { HAS_SHA256 } else { 0 };
    to.push(flags);
    to.extend_from_slice(&of.adler32.0);
    to.extend_from_slice(of.md5.as_ref().map_or(&[], |md5| md5.0.as_slice()));
    to.extend_from_slice(of.sha256.as_ref().map_or(&[], |sha256| sha256.0.as_slice()));
}

fn utf8(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| damaged())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a staged row is damaged")
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self) -> io::Result<&'a str> {
        let end = memchr::memchr(0, self.0).ok_or_else(damaged)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        utf8(text)
    }

    fn uuid(&mut self) -> io::Result<DatasetId> {
        Ok(DatasetId(Uuid::from_bytes(self.array()?)))
    }

    fn index(&mut self) -> io::Result<usize> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    fn checksums(&mut self) -> io::Result<(Checksums, bool)> {
        let [flags] = self.array()?;
        let adler32 = Adler32(self.array()?);
        let md5 = (flags & HAS_MD5 != 0)
            .then(|| self.array().map(Md5))
            .transpose()?;
        let sha256 = (flags & HAS_SHA256 != 0)
            .then(|| self.array().map(Sha256))
            .transpose()?;
        Ok((
            Checksums {
                adler32,
                md5,
                sha256,
            },
            flags & HAS_FORMATTER != 0,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKSUMS: Checksums = Checksums {
        adler32: Adler32([0, 1, 2, 0]),
        md5: Some(Md5([0; 16])),
        sha256: Some(Sha256([9; 32])),
    };

    fn row(component: &'static str, formatter: Option<&'static str>) -> ClaimRow<'static> {
        ClaimRow {
            uuid: DatasetId(Uuid::from_u128(7)),
            component,
            dataset_type: 3,
            data_id: r#"{"detector":1}"#,
            path: "a/b",
            size: u64::MAX / 2,
            checksums: CHECKSUMS,
            formatter,
        }
    }

    #[test]
    fn a_claim_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        for row in [
            row("", None),
            row("wcs", Some("lsst.F")),
            row("é", Some("")),
        ] {
            claim(&row, &mut bytes);
            assert_eq!(read_claim(&bytes).unwrap(), row);
        }
    }

    #[test]
    fn data_ids_and_paths_read_back_as_they_were_written() {
        let uuid = DatasetId(Uuid::from_u128(1));
        let mut bytes = Vec::new();
        let by_data_id = DataIdRow {
            dataset_type: 70_000,
            data_id: "{}",
            uuid,
        };
        data_id(&by_data_id, &mut bytes);
        assert_eq!(read_data_id(&bytes).unwrap(), by_data_id);
        let by_path = PathRow {
            path: "x",
            uuid,
            component: "image",
            size: 0,
            checksums: CHECKSUMS,
        };
        path(&by_path, &mut bytes);
        assert_eq!(read_path(&bytes).unwrap(), by_path);
        dimension_key("visit", b"{\"visit\":1}", &mut bytes);
        assert_eq!(
            read_dimension_key(&bytes).unwrap(),
            ("visit", "{\"visit\":1}")
        );
    }

    #[test]
    fn a_cut_record_is_an_error() {
        let mut bytes = Vec::new();
        claim(&row("wcs", None), &mut bytes);
        for end in 0..bytes.len() {
            assert!(read_claim(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
