//! `nearline serve` as a process: how it starts, how it stops, and what is left when it is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::run::{command, ok, refused, root, scratch};

/// A server, and where it listens.
struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Serving {
    fn start(db: &str) -> Self {
        let mut command = command(&format!("serve --db {db} --listen 127.0.0.1:0 --memory 32MiB"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        Self { child, stderr, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Sends a request and gives the result, if there was an answer, and a good one.
    fn request(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        request(&self.address, method, path, body)
    }

    fn count(&self) -> u64 {
        self.request("POST", "/collections/c/points/count", &json!({})).unwrap()["count"].as_u64().unwrap()
    }

    fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest}");
        rest
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(address: &str, method: &str, path: &str, body: &Value) -> Option<Value> {
    let (mut stream, body) = (TcpStream::connect(address).ok()?, body.to_string());
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let json: Value = serde_json::from_str(body).ok()?;
    Some(json["result"].clone())
}

fn upsert(address: &str, id: u64, wait: bool) -> bool {
    let body = json!({ "points": [{ "id": id, "vector": [id, 1], "payload": { "n": id } }] });
    let path = format!("/collections/c/points?wait={wait}");
    let status = if wait { "completed" } else { "acknowledged" };
    request(address, "PUT", &path, &body).is_some_and(|result| result["status"] == status)
}

fn create(server: &Serving) {
    let vectors = json!({ "vectors": { "size": 2, "distance": "Euclid" } });
    server.request("PUT", "/collections/c", &vectors).unwrap();
}

#[test]
fn a_server_starts_stops_and_finds_everything_again() {
    let db = format!("{}/db", scratch("serve"));
    let server = Serving::start(&db);
    create(&server);
    for id in 0..20 {
        assert!(upsert(&server.address, id, id % 2 == 0));
    }
    refused(2, &format!("collections --db {db}"), &["in use"]);
    let said = server.stop();
    assert!(said.contains("stopped"), "{said}");
    let server = Serving::start(&db);
    assert_eq!(server.count(), 20);
    server.stop();
    ok(&format!("verify {db}"));
}

#[test]
fn settings_come_from_a_file_the_environment_and_the_command_line() {
    let folder = scratch("serve_config");
    std::fs::write(root().join(&folder).join("serve.toml"), "queue = 5\nrequests = 6\n").unwrap();
    let line =
        format!("serve --db {folder}/db --config {folder}/serve.toml --print-config --listen 127.0.0.1:7");
    let mut command = command(&line);
    command.env("NEARLINE_SERVE_REQUESTS", "7").env("NEARLINE_SERVE_LISTEN", "127.0.0.1:8");
    let done = crate::run::finish(command);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for setting in ["queue = 5", "requests = 7", "listen = \"127.0.0.1:7\""] {
        assert!(done.stdout.lines().any(|line| line == setting), "{setting} in {}", done.stdout);
    }
    assert!(!root().join(&folder).join("db").exists());
    refused(2, &format!("serve --db {folder}/db --listen 0.0.0.0:0"), &["insecure"]);
    refused(3, &format!("serve --db {folder}/db --config {folder}/none.toml"), &["none.toml"]);
    std::fs::write(root().join(&folder).join("serve.toml"), "colour = 5\n").unwrap();
    refused(2, &format!("serve --db {folder}/db --config {folder}/serve.toml"), &["colour"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    refused(2, &format!("serve --db {folder}/db --listen {taken}"), &["cannot listen"]);
    assert!(!root().join(&folder).join("db").exists());
}

/// More cycles with `NEARLINE_KILL_CYCLES`.
#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let cycles = std::env::var("NEARLINE_KILL_CYCLES").map_or(3, |cycles| cycles.parse().unwrap());
    let db = format!("{}/db", scratch("serve_kill"));
    let mut server = Serving::start(&db);
    create(&server);
    let mut acknowledged: Vec<u64> = Vec::new();
    for cycle in 0..cycles {
        let (sender, receiver) = mpsc::channel();
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let (address, sender) = (server.address.clone(), sender.clone());
                std::thread::spawn(move || {
                    // Until the server is gone.
                    let ids = (0..).map(|n| ((cycle * 4 + writer) << 32) | n);
                    ids.take_while(|id| upsert(&address, *id, true)).for_each(|id| sender.send(id).unwrap());
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(50 + cycle * 37 % 300));
        server.signal(Signal::KILL);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        drop((sender, server));
        acknowledged.extend(receiver);
        server = Serving::start(&db);
        for ids in acknowledged.chunks(1_000) {
            let request = json!({ "ids": ids, "with_payload": true });
            let found = server.request("POST", "/collections/c/points", &request).unwrap();
            let found: Vec<u64> = found
                .as_array()
                .unwrap()
                .iter()
                .map(|point| point["payload"]["n"].as_u64().unwrap())
                .collect();
            assert_eq!(found, ids, "cycle {cycle}");
        }
        // What was under way may be there or not: one call for each writer.
        let extra = server.count() - acknowledged.len() as u64;
        assert!(extra <= 4 * (cycle + 1), "cycle {cycle}: {extra}");
    }
    assert!(!acknowledged.is_empty());
    server.stop();
    ok(&format!("verify {db}"));
}
