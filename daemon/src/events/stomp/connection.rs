//! One connection to one broker: bytes and heart-beats on a thread of its own, frames for whoever blocks.
//!
//! Brokers really end a connection that misses its heart-beats. They are sent on a timer of their own,
//! whatever the reader does, which may wait for the ledger for a while. Where it does, no more is
//! read: what the broker sends ahead waits in the kernel, and memory stays bounded.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use runsync_config::events::BrokerAddress;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::frame::{Decoder, Frame};
use crate::events::error::SourceError;

/// Bytes that are read at a time.
const READ: usize = 64 << 10;
/// Frames that wait for whoever blocks, beyond which no more is read: what comes while a batch is written makes
/// the next one.
const AHEAD: usize = 4_096;
/// Bytes of their bodies, beyond which no more is read either.
const BYTES_AHEAD: usize = 16 << 20;
/// Frames that wait to be written: a batch of acknowledgements is one of them.
const TO_WRITE: usize = 8;
/// How long the broker may take no byte of what is written.
const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// How many heart-beats of the broker may be missed: two, for what the network holds up.
const MISSED: u32 = 3;

/// How often each side shows that it is there, as both have agreed; none: it does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beats {
    pub(super) ours: Option<Duration>,
    pub(super) theirs: Option<Duration>,
}

/// What it takes to make a connection.
#[derive(Debug, Clone)]
pub(super) struct Dialling {
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) patience: Duration,
    pub(super) message_bytes_max: u64,
}

/// Waits with a deadline.
#[derive(Debug)]
struct Waiting(Option<Runtime>);

impl Waiting {
    /// What comes of `work`; none where it has not in time.
    fn within<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let runtime = self.0.as_ref()?;
        runtime.block_on(async { timeout(patience, work).await.ok() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A plain drop may wait, which is not allowed everywhere.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A frame that waits, and the room that it takes; or how the connection ended.
type Came = Result<(Frame, OwnedSemaphorePermit), SourceError>;

/// An open connection; dropped, it is closed.
#[derive(Debug)]
pub(super) struct Connection {
    broker: String,
    waiting: Waiting,
    frames: mpsc::Receiver<Came>,
    /// How it ended, where the frames before that were given first.
    end: Option<SourceError>,
    to_write: mpsc::Sender<Vec<u8>>,
    beats: watch::Sender<Beats>,
}

impl Connection {
    /// Connects, and speaks TLS where that is wanted.
    pub(super) fn open(broker: &BrokerAddress, dialling: &Dialling) -> Result<Self, SourceError> {
        let name = broker.to_string();
        let started = |source| SourceError::Start {
            broker: name.clone(),
            source,
        };
        // The one here waits with a deadline, the other thread's reads and writes.
        let here = Builder::new_current_thread().enable_time().build();
        let there = Builder::new_current_thread().enable_all().build();
        let (runtime, there) = (here.map_err(started)?, there.map_err(started)?);
        let (frames_in, frames) = mpsc::channel(AHEAD);
        let (to_write, written) = mpsc::channel(TO_WRITE);
        let (beats, agreed) = watch::channel(Beats::default());
        let (address, dialling) = (broker.clone(), dialling.clone());
        let thread = thread::Builder::new().name("stomp".to_owned());
        let spawned = thread.spawn(move || {
            there.block_on(async move {
                let end = converse(&address, &dialling, &frames_in, written, agreed).await;
                // Whoever has dropped the connection is not told how it ended.
                drop(frames_in.send(Err(end)).await);
            });
        });
        spawned.map_err(started)?;
        Ok(Self {
            broker: name,
            waiting: Waiting(Some(runtime)),
            frames,
            end: None,
            to_write,
            beats,
        })
    }

    /// The broker.
    pub(super) fn broker(&self) -> &str {
        &self.broker
    }

    /// Keeps heart-beats from now on.
    pub(super) fn beat(&self, beats: Beats) {
        self.beats.send_replace(beats);
    }

    /// The next frames, at most `limit`; none where none has come in time.
    pub(super) fn receive(
        &mut self,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<Frame>, SourceError> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        let mut came = Vec::new();
        let receive = self.frames.recv_many(&mut came, limit);
        // Nothing that had come is lost where the time is over.
        if self.waiting.within(patience, receive) == Some(0) {
            return Err(self.ended(None));
        }
        let mut frames = Vec::with_capacity(came.len());
        for frame in came {
            match frame {
                Ok((frame, _)) => frames.push(frame),
                // What came before it may tell why.
                Err(end) if frames.is_empty() => return Err(end),
                Err(end) => self.end = Some(end),
            }
        }
        Ok(frames)
    }

    /// Hands frames over to be written. Where the connection has ended, the next read tells so, and why.
    pub(super) fn send(&self, frames: Vec<u8>) -> Result<(), SourceError> {
        let send = self.to_write.send(frames);
        match self.waiting.within(WRITE_PATIENCE, send) {
            Some(Ok(()) | Err(_)) => Ok(()),
            None => Err(self.silent(WRITE_PATIENCE)),
        }
    }

    /// The broker has been silent for too long.
    pub(super) fn silent(&self, silence: Duration) -> SourceError {
        SourceError::Silent {
            broker: self.broker.clone(),
            silence,
        }
    }

    fn ended(&self, source: Option<io::Error>) -> SourceError {
        SourceError::Ended {
            broker: self.broker.clone(),
            source,
        }
    }
}

/// Connects, then reads and writes until one of the two ends.
async fn converse(
    broker: &BrokerAddress,
    dialling: &Dialling,
    frames: &mpsc::Sender<Came>,
    written: mpsc::Receiver<Vec<u8>>,
    beats: watch::Receiver<Beats>,
) -> SourceError {
    let stream = match dial(broker, dialling).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    let (reader, writer) = split(stream);
    let read = read(
        broker,
        reader,
        frames,
        dialling.message_bytes_max,
        beats.clone(),
    );
    let write = write(broker, writer, written, beats);
    tokio::select! {
        end = read => end,
        end = write => end,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn dial(broker: &BrokerAddress, dialling: &Dialling) -> Result<Box<dyn Stream>, SourceError> {
    let patience = dialling.patience;
    let connect = TcpStream::connect((broker.host(), broker.port()));
    let stream = within(patience, connect).await.and_then(|stream| {
        stream.set_nodelay(true)?;
        Ok(stream)
    });
    let stream = stream.map_err(|source| SourceError::Unreachable {
        broker: broker.to_string(),
        source,
    })?;
    let Some(tls) = &dialling.tls else {
        return Ok(Box::new(stream));
    };
    let handshake = |source| SourceError::Handshake {
        broker: broker.to_string(),
        source,
    };
    let name = ServerName::try_from(broker.host().to_owned());
    let name = name.map_err(|error| handshake(io::Error::other(error)))?;
    let connect = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    let stream = within(patience, connect).await.map_err(handshake)?;
    Ok(Box::new(stream))
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read(
    broker: &BrokerAddress,
    mut reader: ReadHalf<Box<dyn Stream>>,
    frames: &mpsc::Sender<Came>,
    message_bytes_max: u64,
    beats: watch::Receiver<Beats>,
) -> SourceError {
    let mut decoder = Decoder::new(message_bytes_max);
    let mut bytes = vec![0; READ];
    let mut came = Vec::new();
    let room = Arc::new(Semaphore::new(BYTES_AHEAD));
    let broker = || broker.to_string();
    loop {
        let theirs = beats.borrow().theirs.map(|beat| beat * MISSED);
        let read = reader.read(&mut bytes);
        let read = match theirs {
            None => read.await,
            Some(silence) => {
                let Ok(read) = timeout(silence, read).await else {
                    let broker = broker();
                    return SourceError::Silent { broker, silence };
                };
                read
            }
        };
        let read = match read {
            Ok(0) => None,
            Ok(read) => bytes.get(..read),
            Err(error) => return ended(broker(), error),
        };
        let Some(read) = read else {
            let (broker, source) = (broker(), None);
            return SourceError::Ended { broker, source };
        };
        let pushed = decoder.push(read, &mut came);
        for frame in came.drain(..) {
            let room = Arc::clone(&room).acquire_many_owned(bytes_ahead(&frame));
            // Nobody closes it.
            let Ok(room) = room.await else { continue };
            if frames.send(Ok((frame, room))).await.is_err() {
                let (broker, source) = (broker(), None);
                return SourceError::Ended { broker, source };
            }
        }
        if let Err(error) = pushed {
            let (broker, reason) = (broker(), error.to_string());
            return SourceError::Protocol { broker, reason };
        }
    }
}

/// The room that a frame takes; one that is larger than all of it has all.
fn bytes_ahead(frame: &Frame) -> u32 {
    u32::try_from(frame.weight().min(BYTES_AHEAD)).unwrap_or(u32::MAX)
}

/// Writes what is handed over, and a heart-beat wherever nothing else was written for that long.
async fn write(
    broker: &BrokerAddress,
    mut writer: WriteHalf<Box<dyn Stream>>,
    mut written: mpsc::Receiver<Vec<u8>>,
    mut beats: watch::Receiver<Beats>,
) -> SourceError {
    loop {
        let ours = beats.borrow_and_update().ours;
        let next = async {
            match ours {
                None => written.recv().await.map(Some),
                Some(beat) => match timeout(beat, written.recv()).await {
                    Ok(frames) => frames.map(Some),
                    Err(_) => Some(None),
                },
            }
        };
        let next = tokio::select! {
            biased;
            // They were agreed upon meanwhile; where whoever agrees is gone, so is what is to be written.
            Ok(()) = beats.changed() => continue,
            next = next => next,
        };
        let Some(next) = next else {
            let (broker, source) = (broker.to_string(), None);
            return SourceError::Ended { broker, source };
        };
        let bytes = next.unwrap_or_else(|| b"\n".to_vec());
        let write = within(WRITE_PATIENCE, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        if let Err(error) = write.await {
            return ended(broker.to_string(), error);
        }
    }
}

fn ended(broker: String, error: io::Error) -> SourceError {
    let source = Some(error);
    SourceError::Ended { broker, source }
}
