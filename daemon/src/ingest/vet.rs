//! Judges a manifest that is to be copied into a root, before it is.
//!
//! A file in the manifest folder is never replaced, so a cut or forged one would keep the true
//! manifest of its run and generation from that place. Only what is whole, and signed by whom it
//! must be, goes in; the flow then reads it there like any other, and looks into its lines.

use std::io::{Read, Seek};

use runsync_manifest::error::ReadError;
use runsync_manifest::header::Header;
use runsync_manifest::limits::Limits;
use runsync_manifest::reader::Reader;
use runsync_manifest::trailer::Trailer;

use super::flow::Flow;
use super::refuse::Refusal;
use super::verify;

impl Flow {
    /// Reads a manifest to its end and judges header and signature. What the lines of a signed one
    /// say is left to the flow: it is what its origin says in that generation, right or wrong. An
    /// unsigned one can still be mended.
    ///
    /// # Errors
    ///
    /// Why it may not be copied into the root; nothing is written.
    pub fn vet(
        &self,
        mut manifest: impl Read + Seek,
        unsigned: bool,
    ) -> Result<Header, Box<Refusal>> {
        let trust = self.site().trust();
        let limits = self.site().limits;
        let reader = Reader::new(&mut manifest, limits).map_err(|e| Box::new(Refusal::from(&e)))?;
        let header = reader.header().clone();
        verify::admit(&header, &trust)?;
        let trailer = if unsigned {
            read_whole(reader)
        } else {
            reader.skim()
        };
        let trailer = trailer.map_err(|error| Box::new(explain(manifest, limits, &error)))?;
        verify::check_signature(&header, &trailer, &trust, unsigned)?;
        Ok(header)
    }
}

fn read_whole(mut reader: Reader<impl Read>) -> Result<Trailer, ReadError> {
    while reader.next()?.is_some() {}
    let line = reader.line_number();
    reader.into_trailer().ok_or(ReadError::Incomplete { line })
}

/// Says what is wrong with a manifest: of a line, where there is one, rather than of the digest.
fn explain(mut manifest: impl Read + Seek, limits: Limits, error: &ReadError) -> Refusal {
    let rewound = manifest.rewind().ok();
    let in_line = rewound.and_then(|()| Reader::new(manifest, limits).and_then(read_whole).err());
    Refusal::from(in_line.as_ref().unwrap_or(error))
}
