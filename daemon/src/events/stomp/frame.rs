//! Frames of STOMP 1.2: bytes in, frames out, and the other way.
//!
//! Source: <https://stomp.github.io/stomp-specification-1.2.html>. A [`Decoder`] is given bytes as they come. What a
//! sender may put into a frame never ends the connection, or the same frame would end it again and
//! again: a body beyond the limit is counted and dropped but for its beginning, headers beyond theirs
//! are left out, and a header's value is decoded only once somebody asks for it.

use std::borrow::Cow;
use std::mem;

use memchr::memchr;

use crate::events::source::{BEGINNING, Message};

/// Bytes of command and headers that are kept of a frame. Brokers write their own headers first.
const HEAD_MAX: usize = 64 << 10;
/// Longest command, in bytes: none of the protocol's has more than 11.
const COMMAND_MAX: usize = 32;

/// A frame from a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) command: String,
    /// Lines of headers as they came, without their ends.
    headers: Vec<Vec<u8>>,
    pub(super) body: Message,
}

impl Frame {
    /// A header's value: of several of one name the first counts. None where it is missing, or is not
    /// what the protocol allows.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = find(&self.headers, name)?;
        // CONNECTED alone is not escaped, for the sake of STOMP 1.0.
        let value = if self.command == "CONNECTED" {
            Cow::Borrowed(value)
        } else {
            unescaped(value)?
        };
        String::from_utf8(value.into_owned()).ok()
    }

    /// Bytes of it that are kept.
    pub(super) fn weight(&self) -> usize {
        let (Message::Whole(body)
        | Message::TooLarge {
            beginning: body, ..
        }) = &self.body;
        let headers = self.headers.iter().map(Vec::len);
        body.len() + headers.sum::<usize>()
    }

    /// What an ERROR frame says, as one bounded line for people.
    pub(super) fn complaint(&self) -> String {
        let message = self.header("message").unwrap_or_default();
        let (Message::Whole(body)
        | Message::TooLarge {
            beginning: body, ..
        }) = &self.body;
        let body = String::from_utf8_lossy(body);
        let text = match body.trim() {
            "" => message,
            body => format!("{message}: {body}"),
        };
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        line.take(300).collect()
    }
}

fn find<'h>(headers: &'h [Vec<u8>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find_map(|line| {
        let colon = memchr(b':', line)?;
        let (found, value) = line.split_at_checked(colon)?;
        (found == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    })
}

/// Undoes the escapes of a value; none where it has one that the protocol does not know.
fn unescaped(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'\\', value).is_none() {
        return Some(Cow::Borrowed(value));
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b'c' => b':',
                b'\\' => b'\\',
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(Cow::Owned(plain))
}

/// What is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// There is no command, or one that is far too long.
    #[error("what should be a command is none")]
    Command,
    /// A length that is no number.
    #[error("a content-length is no number")]
    Length,
    /// A body does not end where its length says.
    #[error("a body is longer than its content-length")]
    End,
}

/// Where in a frame the next byte belongs.
#[derive(Debug)]
enum State {
    /// Between frames: ends of lines are signs of life.
    Between,
    /// In the command's or a header's line.
    Head,
    /// In a body of which so much is still to come.
    Sized(u64),
    /// Behind such a body: the byte that ends the frame comes next.
    End,
    /// In a body that ends with the frame.
    Unsized,
}

/// Makes frames of bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    most: u64,
    state: State,
    line: Vec<u8>,
    kept: usize,
    command: Option<String>,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
    size: u64,
}

impl Decoder {
    /// One that keeps bodies of up to `most` bytes.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            state: State::Between,
            line: Vec::new(),
            kept: 0,
            command: None,
            headers: Vec::new(),
            body: Vec::new(),
            size: 0,
        }
    }

    /// Takes bytes, and appends the frames that they complete.
    ///
    /// # Errors
    ///
    /// Where they are no STOMP: nothing after them can be understood either.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        frames: &mut Vec<Frame>,
    ) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => {
                    let ends = |byte: &u8| *byte == b'\n' || *byte == b'\r';
                    let skip = bytes.iter().take_while(|byte| ends(byte)).count();
                    let rest = bytes.get(skip..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.state = State::Head;
                    }
                    rest
                }
                State::Head => self.head(bytes)?,
                State::Sized(left) => self.sized(bytes, left),
                State::End => {
                    let Some((0, rest)) = bytes.split_first() else {
                        return Err(FrameError::End);
                    };
                    frames.extend(self.finish());
                    rest
                }
                State::Unsized => {
                    let end = memchr(0, bytes);
                    let (body, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.keep(body);
                    if end.is_some() {
                        frames.extend(self.finish());
                    }
                    rest.get(1..).unwrap_or_default()
                }
            };
        }
        Ok(())
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], FrameError> {
        let end = memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = if self.command.is_some() {
            HEAD_MAX.saturating_sub(self.kept)
        } else {
            COMMAND_MAX
        };
        // One byte more than there is room for tells that there was none.
        let take = part.len().min((room + 1).saturating_sub(self.line.len()));
        self.line.extend(part.iter().take(take));
        let is_cut = self.line.len() > room;
        if self.command.is_none() && is_cut {
            return Err(FrameError::Command);
        }
        if end.is_none() {
            return Ok(rest);
        }
        let mut line = mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.command.is_none() {
            let command = String::from_utf8(line).map_err(|_| FrameError::Command)?;
            if command.is_empty() || !command.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return Err(FrameError::Command);
            }
            self.command = Some(command);
        } else if !line.is_empty() {
            if !is_cut {
                self.kept += line.len();
                self.headers.push(line);
            }
        } else {
            self.state = self.body_state()?;
        }
        Ok(rest.get(1..).unwrap_or_default())
    }

    fn body_state(&self) -> Result<State, FrameError> {
        let Some(length) = find(&self.headers, "content-length") else {
            return Ok(State::Unsized);
        };
        let length = str::from_utf8(length).ok();
        let length = length.and_then(|length| length.trim().parse().ok());
        match length.ok_or(FrameError::Length)? {
            0 => Ok(State::End),
            length => Ok(State::Sized(length)),
        }
    }

    fn sized<'b>(&mut self, bytes: &'b [u8], left: u64) -> &'b [u8] {
        let take = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (body, rest) = bytes.split_at(take);
        self.keep(body);
        let left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
        self.state = if left == 0 {
            State::End
        } else {
            State::Sized(left)
        };
        rest
    }

    /// Keeps a part of a body, or, once it is too large, its beginning.
    fn keep(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(length);
        if self.size <= self.most {
            self.body.extend_from_slice(part);
            return;
        }
        let room = BEGINNING.saturating_sub(self.body.len());
        self.body.extend(part.iter().take(room));
        self.body.truncate(BEGINNING);
        self.body.shrink_to_fit();
    }

    fn finish(&mut self) -> Option<Frame> {
        let body = mem::take(&mut self.body);
        let size = mem::take(&mut self.size);
        self.state = State::Between;
        self.kept = 0;
        Some(Frame {
            command: self.command.take()?,
            headers: mem::take(&mut self.headers),
            body: if size <= self.most {
                Message::Whole(body)
            } else {
                let beginning = body;
                Message::TooLarge { size, beginning }
            },
        })
    }
}

/// Writes a frame without a body.
#[derive(Debug)]
pub(super) struct Writing {
    bytes: Vec<u8>,
    escaped: bool,
}

impl Writing {
    /// Begins it.
    pub(super) fn new(command: &str) -> Self {
        let mut bytes = command.as_bytes().to_vec();
        bytes.push(b'\n');
        Self {
            bytes,
            escaped: command != "CONNECT",
        }
    }

    /// Adds a header. In a CONNECT frame, which knows no escapes, ends of lines are left out.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b':');
        for byte in value.bytes() {
            match (byte, self.escaped) {
                (b'\r', true) => self.bytes.extend_from_slice(b"\\r"),
                (b'\n', true) => self.bytes.extend_from_slice(b"\\n"),
                (b':', true) => self.bytes.extend_from_slice(b"\\c"),
                (b'\\', true) => self.bytes.extend_from_slice(b"\\\\"),
                (b'\r' | b'\n' | 0, false) | (0, true) => {}
                (byte, _) => self.bytes.push(byte),
            }
        }
        self.bytes.push(b'\n');
        self
    }

    /// The frame's bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(b"\n\0");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::new(100);
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            decoder.push(piece, &mut frames)?;
        }
        Ok(frames)
    }

    fn whole(frame: &Frame) -> &[u8] {
        match &frame.body {
            Message::Whole(body) => body,
            Message::TooLarge { .. } => panic!("{frame:?}"),
        }
    }

    #[test]
    fn frames_are_read_however_their_bytes_come() {
        let bytes = b"\n\r\nMESSAGE\r\ndestination:/topic/a\nmessage-id:a\\cb\\\\c\\n\ncontent-length:3\n\na\0b\0\n\nRECEIPT\nreceipt-id:7\n\nbody\0";
        for piece in 1..bytes.len() {
            let frames = decode(bytes, piece).unwrap();
            let [message, receipt] = &*frames else {
                panic!("{frames:?}")
            };
            assert_eq!(message.command, "MESSAGE");
            assert_eq!(message.header("message-id").unwrap(), "a:b\\c\n");
            assert_eq!(whole(message), b"a\0b");
            assert_eq!(receipt.header("receipt-id").unwrap(), "7");
            assert_eq!(receipt.header("message-id"), None);
            assert_eq!(whole(receipt), b"body");
        }
    }

    #[test]
    fn of_headers_of_one_name_the_first_counts() {
        let frames = decode(b"MESSAGE\nack:1\nack:2\n\n\0", 9).unwrap();
        assert_eq!(frames[0].header("ack").unwrap(), "1");
    }

    #[test]
    fn a_body_beyond_the_limit_is_counted_and_cut() {
        for length in ["content-length:10000\n", ""] {
            let body = "x".repeat(10_000);
            let bytes = format!("MESSAGE\nack:1\n{length}\n{body}\0MESSAGE\nack:2\n\ny\0");
            for piece in [1, 64, usize::MAX] {
                let frames = decode(bytes.as_bytes(), piece).unwrap();
                let Message::TooLarge { size, beginning } = &frames[0].body else {
                    panic!("{frames:?}")
                };
                assert_eq!((*size, beginning.len()), (10_000, BEGINNING));
                assert_eq!(frames[0].header("ack").unwrap(), "1");
                assert_eq!(whole(&frames[1]), b"y");
            }
        }
    }

    #[test]
    fn headers_beyond_the_limit_are_left_out_and_nothing_else() {
        let long = "x".repeat(HEAD_MAX);
        let bytes = format!("MESSAGE\nack:1\nlong:{long}\n\nbody\0RECEIPT\nreceipt-id:1\n\n\0");
        for piece in [1, 4096, usize::MAX] {
            let frames = decode(bytes.as_bytes(), piece).unwrap();
            assert_eq!(frames[0].header("ack").unwrap(), "1");
            assert_eq!(frames[0].header("long"), None);
            assert_eq!(whole(&frames[0]), b"body");
            assert_eq!(frames[1].command, "RECEIPT");
        }
    }

    #[test]
    fn a_header_that_nobody_can_read_spoils_no_other() {
        let frames = decode(b"MESSAGE\nack:1\nodd:a\\tb\nbytes:\xFF\n\nx\0", 99).unwrap();
        assert_eq!(frames[0].header("ack").unwrap(), "1");
        assert_eq!(frames[0].header("odd"), None);
        assert_eq!(frames[0].header("bytes"), None);
    }

    #[test]
    fn what_is_no_stomp_is_found_at_once() {
        for (bytes, error) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                FrameError::Command,
            ),
            (&[b'A'; 100], FrameError::Command),
            (b"\0", FrameError::Command),
            (b"MESSAGE\ncontent-length:x\n\n", FrameError::Length),
            (b"MESSAGE\ncontent-length:-1\n\n", FrameError::Length),
            (b"MESSAGE\ncontent-length:1\n\nab\0", FrameError::End),
            (b"MESSAGE\ncontent-length:0\n\nab\0", FrameError::End),
        ] {
            let mut padded = bytes.to_vec();
            padded.push(b'\n');
            assert_eq!(decode(&padded, 3), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let value = "a:b\\c\r\nd é";
        let bytes = Writing::new("ACK").header("id", value).finish();
        let frames = decode(&bytes, 1).unwrap();
        assert_eq!(frames[0].header("id").unwrap(), value);
    }

    #[test]
    fn nothing_in_a_login_can_add_a_header() {
        let bytes = Writing::new("CONNECT")
            .header("passcode", "a:b\\\nadmin:1")
            .finish();
        assert_eq!(bytes, b"CONNECT\npasscode:a:b\\admin:1\n\n\0");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic_or_keep_more_than_it_may(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            piece in 1_usize..100,
        ) {
            let framed = [b"MESSAGE\n", &*bytes, b"\n\nbody\0"].concat();
            for bytes in [&bytes, &framed] {
                let mut decoder = Decoder::new(100);
                let mut frames = Vec::new();
                for piece in bytes.chunks(piece) {
                    if decoder.push(piece, &mut frames).is_err() {
                        break;
                    }
                    prop_assert!(decoder.body.len() <= BEGINNING.max(100));
                    prop_assert!(decoder.line.len() <= HEAD_MAX + 1);
                }
            }
        }
    }
}
