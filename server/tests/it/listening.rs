//! The server behind a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearline::{Database, Metric, Schema};
use nearline_server::{Config, serve_until};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A server on a port of its own.
pub(crate) struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    folder: TempDir,
}

impl Listening {
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder(folder.path()).memory_budget(32 << 20).open().unwrap();
        database.create_collection("c", Schema::single(1, Metric::L2)).unwrap();
        let config = Config::read(&format!("listen = '127.0.0.1:0'\n{config}"), |_| None).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let until = || Ok(async move { drop(stopped.await) });
            serve_until(database, &config, |address| tell.send(address).unwrap(), until).unwrap();
        });
        Self { address: told.recv().unwrap(), stop, thread, folder }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Stops it, waits until it has, and opens the database it leaves.
    pub(crate) fn stop(self) -> (Database, TempDir) {
        let _ = self.stop.send(());
        self.thread.join().unwrap();
        (Database::builder(self.folder.path()).open().unwrap(), self.folder)
    }
}

pub(crate) fn upsert(ids: std::ops::Range<u64>) -> String {
    let points: Vec<String> = ids.map(|id| format!(r#"{{"id": {id}, "vector": [{id}]}}"#)).collect();
    let body = format!(r#"{{"points": [{}]}}"#, points.join(","));
    format!("PUT /collections/c/points HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads one answer and says its status.
pub(crate) fn status(stream: &mut impl Read) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Whether the other side has closed, before it is too late.
pub(crate) fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    // A reset is an end, too; that nothing came for a long time is none.
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_are_kept_and_what_was_acknowledged_is_there_after_a_stop() {
    let server = Listening::start("");
    let mut stream = server.connect();
    for round in 0..5 {
        stream.write_all(upsert(round * 10..round * 10 + 10).as_bytes()).unwrap();
        assert_eq!(status(&mut stream), 200);
    }
    let (database, _folder) = server.stop();
    assert!(is_closed(&mut stream), "an idle connection holds nothing up");
    assert_eq!(database.collection("c").unwrap().count(None).unwrap(), 50);
}

#[test]
fn what_is_under_way_when_the_server_stops_is_answered() {
    let server = Listening::start("stop_seconds = 20.0");
    let (mut stream, request) = (server.connect(), upsert(0..1000));
    let (first, rest) = request.split_at(request.len() / 2);
    stream.write_all(first.as_bytes()).unwrap();
    // The head is there, so the request has begun.
    std::thread::sleep(Duration::from_millis(200));
    let Listening { stop, thread, folder, .. } = server;
    stop.send(()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(status(&mut stream), 200);
    thread.join().unwrap();
    let database = Database::builder(folder.path()).open().unwrap();
    assert_eq!(database.collection("c").unwrap().count(None).unwrap(), 1000);
}

#[test]
fn who_does_not_come_to_an_end_is_cut_off_when_the_server_stops() {
    let server = Listening::start("stop_seconds = 0.2");
    let mut stream = server.connect();
    stream.write_all(&upsert(0..10).as_bytes()[..100]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let (database, _folder) = server.stop();
    assert!(is_closed(&mut stream));
    assert_eq!(database.collection("c").unwrap().count(None).unwrap(), 0);
}

#[test]
fn slow_heads_are_given_up_and_others_are_answered_meanwhile() {
    let server = Listening::start("head_seconds = 0.3\nconnections = 100");
    let mut slow: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nhost:").unwrap();
    }
    let mut quick = server.connect();
    quick.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(status(&mut quick), 200);
    assert!(slow.iter_mut().all(is_closed));
    server.stop();
}

#[test]
fn connections_beyond_their_number_wait() {
    let server = Listening::start("connections = 1");
    let (mut first, mut second) = (server.connect(), server.connect());
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(status(&mut first), 200);
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0]).is_err(), "nothing yet");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(status(&mut second), 200);
    server.stop();
}

#[test]
fn what_is_no_http_does_no_harm() {
    let server = Listening::start("");
    let began = Instant::now();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /collections/c HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"PUT /collections/c HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"PUT /collections/c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_closed(&mut stream));
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    let mut stream = server.connect();
    stream.write_all(upsert(0..1).as_bytes()).unwrap();
    assert_eq!(status(&mut stream), 200);
    server.stop();
}

#[test]
fn who_does_not_take_an_answer_is_cut_off() {
    let server = Listening::start("write_seconds = 0.3\nconnections = 1");
    let mut slow = server.connect();
    slow.write_all(upsert(0..20_000).as_bytes()).unwrap();
    assert_eq!(status(&mut slow), 200);
    let body = r#"{"limit": 20000, "with_vector": true}"#;
    let ask =
        format!("POST /collections/c/points/scroll HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // More answers than the buffers of both sides hold, and nobody reads them.
    let _ = slow.set_write_timeout(Some(Duration::from_millis(500)));
    for _ in 0..40 {
        if slow.write_all(ask.as_bytes()).is_err() {
            break;
        }
    }
    let mut next = server.connect();
    next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(status(&mut next), 200, "the only place is free again");
    drop(slow);
    server.stop();
}

#[test]
fn bodies_that_drip_are_given_up_and_hold_no_thread() {
    let server = Listening::start("request_seconds = 0.4\nsearch_threads = 1\nwrite_threads = 1");
    let request = upsert(0..100);
    let mut dripping: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for stream in &mut dripping {
        stream.write_all(&request.as_bytes()[..request.len() - 1]).unwrap();
    }
    let mut quick = server.connect();
    quick.write_all(upsert(200..210).as_bytes()).unwrap();
    assert_eq!(status(&mut quick), 200);
    for stream in &mut dripping {
        assert_eq!(status(stream), 408);
    }
    let (database, _folder) = server.stop();
    assert_eq!(database.collection("c").unwrap().count(None).unwrap(), 10);
}
