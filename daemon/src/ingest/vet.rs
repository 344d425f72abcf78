//! Judges a manifest that is to be copied into a root, before it is.
//!
//! A file in the manifest folder is never replaced, so a cut or forged one would keep the true
//! manifest of its run and generation from that place. Only what is whole, and signed by whom it
//! must be, goes in; the flow then reads it there like any other, and looks into its lines.

use std::io::Read;

use runsync_manifest::error::ReadError;
use runsync_manifest::header::Header;
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
    pub fn vet(&self, manifest: impl Read, unsigned: bool) -> Result<Header, Box<Refusal>> {
        let trust = self.site().trust();
        let read = |error: ReadError| Box::new(Refusal::from(&error));
        let reader = Reader::new(manifest, self.site().limits).map_err(read)?;
        let header = reader.header().clone();
        verify::admit(&header, &trust)?;
        let trailer = if unsigned {
            read_whole(reader)
        } else {
            reader.skim()
        };
        let trailer = trailer.map_err(read)?;
        verify::check_signature(&header, &trailer, &trust, unsigned)?;
        Ok(header)
    }
}

fn read_whole(mut reader: Reader<impl Read>) -> Result<Trailer, ReadError> {
    while reader.next()?.is_some() {}
    let line = reader.line_number();
    reader.into_trailer().ok_or(ReadError::Incomplete { line })
}
