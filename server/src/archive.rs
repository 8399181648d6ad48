//! Files as one archive, written while it is sent: no more than a few pieces are in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use nearline::SnapshotFile;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::ApiError;

/// Bytes of a piece, and pieces that wait to be sent.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 4;

/// A tar archive of files, by their names alone. A thread of its own writes it, for as long as `slot` is held; it ends when the
/// client goes.
pub(crate) fn stream(files: Vec<SnapshotFile>, slot: OwnedSemaphorePermit) -> Result<Body, ApiError> {
    let (sender, receiver) = channel(PIECES);
    let write = move || {
        let _slot = slot;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Pieces(&sender));
        let written = write_all(&files, &mut out).and_then(|()| out.flush());
        if let Err(error) = written {
            // The connection is broken off: half an archive must not look like a whole one.
            let _ = sender.blocking_send(Err(error));
        }
    };
    let thread = std::thread::Builder::new().name("download".to_owned()).spawn(write);
    thread.map_err(ApiError::internal)?;
    Ok(Body::new(Pieced(receiver)))
}

fn write_all(files: &[SnapshotFile], out: &mut impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes);
        header.set_mode(0o644);
        archive.append_data(&mut header, &file.name, File::open(&file.path)?)?;
    }
    archive.finish()
}

/// What is written goes to whoever sends it.
struct Pieces<'a>(&'a Sender<io::Result<Bytes>>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer whose pieces are still being made.
struct Pieced(Receiver<io::Result<Bytes>>);

impl HttpBody for Pieced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
