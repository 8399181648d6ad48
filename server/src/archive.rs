//! Files as one archive, written while it is sent: no more than a few pieces are in memory.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use nearline::{OpenError, SnapshotFile, StorageError};
use ring::digest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::ApiError;

/// Files of an archive.
pub(crate) const FILES: usize = 1 << 16;
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

/// The SHA-256 of such an archive, in hexadecimal digits.
pub(crate) fn checksum(files: &[SnapshotFile]) -> io::Result<String> {
    let mut out = BufWriter::with_capacity(PIECE_BYTES, Digest::new());
    write_all(files, &mut out)?;
    Ok(out.into_inner()?.hex())
}

/// The SHA-256 of what is written to it.
pub(crate) struct Digest(digest::Context);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn hex(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a database of the archive of a snapshot of all there was in another, as it was downloaded.
///
/// # Errors
/// When the archive cannot be read or is none, or there is something at `to`; as [`nearline::restore_storage`].
pub fn restore_storage(archive: &Path, to: &Path) -> Result<(), OpenError> {
    let failed = |error| not_unpacked(archive, error);
    let file = File::open(archive).map_err(failed)?;
    let limits = Limits { files: FILES, bytes: u64::MAX, folders: true };
    nearline::restore_storage(to, |folder| unpack(io::BufReader::new(file), folder, limits).map_err(failed))
}

/// What went wrong with an archive: it, or the machine, such as a disk that is full.
pub(crate) fn not_unpacked(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        // The last three are what the reader of archives says of those that end early or make no sense.
        io::ErrorKind::InvalidData
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::Other => OpenError::Source(Arc::new(error)),
        _ => StorageError::io(path, "unpack", error).into(),
    }
}

/// What an archive may have in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Files.
    pub(crate) files: usize,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// Whether they may be in folders, which are in no others.
    pub(crate) folders: bool,
}

/// Writes the files of an archive into a folder: files alone, by plain names, each once, in folders as far as they may be. All else is
/// refused; extensions of the format are not even read.
///
/// # Errors
/// What is wrong with the archive, or with the disk.
pub(crate) fn unpack(archive: impl Read, folder: &Path, limits: Limits) -> io::Result<()> {
    let mut archive = tar::Archive::new(archive);
    let mut left = limits.bytes;
    for (number, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        let name = plain_path(&entry.path_bytes(), limits.folders)?;
        if !entry.header().entry_type().is_file() {
            return Err(odd(format!("{name:?} is no file")));
        }
        left =
            left.checked_sub(entry.size()).ok_or_else(|| odd(format!("more than {} bytes", limits.bytes)))?;
        if number >= limits.files {
            return Err(odd(format!("more than {} files", limits.files)));
        }
        if let Some((of, _)) = name.split_once('/') {
            match std::fs::create_dir(folder.join(of)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // Never over one that is there, nor through a link.
        let file = File::create_new(folder.join(&name));
        let mut file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => odd(format!("{name:?} is there twice")),
            _ => error,
        })?;
        if io::copy(&mut entry, &mut file)? != entry.size() {
            return Err(odd(format!("{name:?} is cut short")));
        }
    }
    Ok(())
}

fn plain_path(bytes: &[u8], folders: bool) -> io::Result<String> {
    match bytes.iter().position(|byte| *byte == b'/').filter(|_| folders) {
        Some(at) => Ok(format!("{}/{}", plain_name(&bytes[..at])?, plain_name(&bytes[at + 1..])?)),
        None => plain_name(bytes),
    }
}

fn plain_name(bytes: &[u8]) -> io::Result<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() && !name.starts_with('.') && bytes.iter().all(is_plain) => {
            Ok(name.to_owned())
        }
        _ => Err(odd(format!("a file called {:?}", String::from_utf8_lossy(bytes)))),
    }
}

fn odd(what: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what}; expected an archive as snapshots are downloaded"),
    )
}

/// Refuses an archive of another checksum than it should have.
pub(crate) fn check_sum(wanted: Option<&str>, found: impl FnOnce() -> io::Result<String>) -> io::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    match found()? {
        found if found.eq_ignore_ascii_case(wanted) => Ok(()),
        found => Err(odd(format!("the checksum (SHA-256) is {found}, not {wanted:?}"))),
    }
}

/// What is still being received, for who reads it: pieces, and then nothing if all of it came.
pub(crate) struct Received {
    pieces: Receiver<Option<Bytes>>,
    piece: Bytes,
    is_whole: bool,
    digest: Digest,
}

impl Received {
    pub(crate) fn new(pieces: Receiver<Option<Bytes>>) -> Self {
        Self { pieces, piece: Bytes::new(), is_whole: false, digest: Digest::new() }
    }

    /// Reads what is left, and refuses an archive of another checksum than it should have.
    pub(crate) fn finish(mut self, checksum: Option<&str>) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        check_sum(checksum, || Ok(self.digest.hex()))
    }
}

impl Read for Received {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => {
                    self.digest.0.update(&piece);
                    self.piece = piece;
                }
                Some(None) => self.is_whole = true,
                None => return Err(odd("the upload was broken off".to_owned())),
            }
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
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
