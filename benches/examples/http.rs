//! What HTTP adds to the library: loading by JSON and by bytes, latency, queries a second, memory under many connections.
//!
//! ```text
//! cargo run --release -p nearline-benches --example http -- [COUNT] [DIM] [MEMORY_MIB]
//! cargo run --release -p nearline-benches --example http -- INDEX QUERY.fbin [MEMORY_MIB]
//! ```
//!
//! With the folder of an index nothing is loaded: it is asked as it is, as a database, with the queries of a file.
//!
//! Client and server are one process, on the same processors, and speak through a socket; what the client takes counts against
//! HTTP. Vectors are drawn around a thousand centres by a fixed seed. Figures are medians and ratios, not bounds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nearline::{Collection, Database, Metric, Point, Query, Schema, Scroll};
use nearline_benches::live::{forget_peak, rss_bytes};
use nearline_benches::measure::percentile;
use nearline_datasets::VectorFile;
use nearline_server::{Config, serve_until};
use tokio::sync::oneshot;

const BATCH: usize = 1_000;
const QUERIES: usize = 2_000;
const K: usize = 10;
const CENTRES: usize = 1_000;
const CONNECTIONS: usize = 16;
const MANY: usize = 200;
/// How long queries a second are counted.
const SPAN: Duration = Duration::from_secs(5);

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Vectors around centres.
fn vectors(count: usize, dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut centres = Random(7);
    let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| (0..dim).map(|_| centres.unit()).collect()).collect();
    let mut random = Random(seed);
    (0..count)
        .map(|_| {
            let centre = &centres[random.next() as usize % CENTRES];
            centre.iter().map(|&at| at + 0.3 * random.unit()).collect()
        })
        .collect()
}

/// One connection.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Asks, and reads the whole answer.
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<()> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        self.answer.clear();
        let mut piece = [0; 64 << 10];
        loop {
            let read = self.stream.read(&mut piece)?;
            ensure!(read > 0, "the connection was closed");
            self.answer.extend_from_slice(&piece[..read]);
            if let Some(end) = whole(&self.answer) {
                ensure!(self.answer.len() == end, "more than one answer");
                break;
            }
        }
        let line = String::from_utf8_lossy(&self.answer[..self.answer.len().min(400)]);
        ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
        Ok(())
    }
}

/// Where an answer ends, if it is there.
fn whole(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).ok()?.to_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.lines().next()?.trim().parse().ok()?;
    (answer.len() >= head + 4 + length).then_some(head + 4 + length)
}

fn main() -> Result<()> {
    let argument = |at: usize, usual: usize| {
        std::env::args().nth(at).map_or(Ok(usual), |word| word.parse()).context("expected numbers")
    };
    let memory_mib = argument(3, 512)?;
    let memory = (memory_mib as u64) << 20;
    let index = std::env::args().nth(1).filter(|name| Path::new(name).is_dir());
    let folder = tempfile::tempdir()?;
    let path = index.as_ref().map_or(folder.path(), Path::new);
    let database = Database::builder(path).memory_budget(memory).open()?;
    let config = Config::read("listen = '127.0.0.1:0'\nrecall_sample = 0\nlog = 'off'", |_| None)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
    let handle = database.clone();
    let server = std::thread::spawn(move || {
        let until = || Ok(async move { drop(stopped.await) });
        // Whoever waits for the address sees that there is none.
        serve_until(handle, &config, |address| tell.send(address).unwrap_or_default(), until)
    });
    let address = told.recv()?;
    let (collection, queries) = match index {
        Some(_) => {
            (database.collection("default")?, queries_of(&std::env::args().nth(2).context("QUERY.fbin?")?)?)
        }
        None => {
            let (count, dim) = (argument(1, 50_000)?, argument(2, 96)?);
            (load(&database, address, &vectors(count, dim, 1), dim)?, vectors(QUERIES, dim, 2))
        }
    };
    collection.wait_idle()?;
    ask(&collection, address, &queries)?;
    many(&collection, address, memory_mib)?;
    drop(collection);
    let _ = stop.send(());
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(())
}

/// The first vectors of a file.
fn queries_of(path: &str) -> Result<Vec<Vec<f32>>> {
    let file = VectorFile::open(Path::new(path))?;
    nearline_benches::live::vectors(&mut file.rows(0)?, file.dim(), QUERIES as u64)
}

/// Loads three collections with the same points; hands back the last.
fn load(database: &Database, address: SocketAddr, points: &[Vec<f32>], dim: usize) -> Result<Collection> {
    let schema = || Schema::single(dim, Metric::L2);
    let rate = |name: &str, began: Instant| {
        let rate = points.len() as f64 / began.elapsed().as_secs_f64();
        println!("load {name:<8} {rate:>10.0} points/s");
        rate
    };
    let mut client = Client::to(address)?;
    let mut rates = Vec::new();
    for (name, kind) in [("json", "application/json"), ("bytes", "application/octet-stream")] {
        database.create_collection(name, schema())?;
        let bodies: Vec<(usize, Vec<u8>)> = points
            .chunks(BATCH)
            .enumerate()
            .map(|(at, batch)| {
                (at * BATCH, if name == "json" { as_json(at * BATCH, batch) } else { as_bytes(batch) })
            })
            .collect();
        let began = Instant::now();
        for (start, body) in &bodies {
            let path = match name {
                "json" => format!("/collections/{name}/points?wait=true"),
                _ => format!("/nearline/v1/collections/{name}/points?wait=true&start={start}"),
            };
            client.ask("PUT", &path, kind, body)?;
        }
        rates.push(rate(name, began));
        if name == "json" {
            database.drop_collection(name)?;
        }
    }
    println!("bytes are {:.1} times as fast as json", rates[1] / rates[0]);
    // Its index is not built at the cost of what comes next.
    database.collection("bytes")?.wait_idle()?;
    let collection = database.create_collection("library", schema())?;
    let began = Instant::now();
    for (at, batch) in points.chunks(BATCH).enumerate() {
        let each = batch.iter().enumerate();
        collection.upsert(each.map(|(i, row)| Point::new((at * BATCH + i) as u64).vector(row.as_slice())))?;
    }
    rate("library", began);
    drop(collection);
    database.drop_collection("library")?;
    Ok(database.collection("bytes")?)
}

fn as_json(start: usize, rows: &[Vec<f32>]) -> Vec<u8> {
    let points: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| format!(r#"{{"id":{},"vector":{row:?}}}"#, start + at))
        .collect();
    format!(r#"{{"points":[{}]}}"#, points.join(",")).into_bytes()
}

fn as_bytes(rows: &[Vec<f32>]) -> Vec<u8> {
    rows.iter().flatten().flat_map(|number| number.to_le_bytes()).collect()
}

/// Latency one by one, and queries a second by several at a time: of the library, by JSON and by bytes.
fn ask(collection: &Collection, address: SocketAddr, queries: &[Vec<f32>]) -> Result<()> {
    let library = |query: &Vec<f32>| -> Result<()> {
        collection.query(&Query::nearest(query.as_slice()).k(K))?;
        Ok(())
    };
    let json = |query: &Vec<f32>, client: &mut Client| {
        let body = format!(r#"{{"query":{query:?},"limit":{K}}}"#);
        let path = format!("/collections/{}/points/query", collection.name());
        client.ask("POST", &path, "application/json", body.as_bytes())
    };
    let bytes = |query: &Vec<f32>, client: &mut Client| {
        let path = format!("/nearline/v1/collections/{}/query?limit={K}", collection.name());
        client.ask("POST", &path, "application/octet-stream", &as_bytes(std::slice::from_ref(query)))
    };
    // Warm, and then in turn, so that what changes meanwhile changes for all.
    let mut client = Client::to(address)?;
    let mut latencies = [const { Vec::new() }; 3];
    for round in 0..2 {
        for first in 0..queries.len() {
            let mut took = [0.0; 3];
            for (at, took) in took.iter_mut().enumerate() {
                // Each another one: whoever asks what was just asked finds it read.
                let query = &queries[(first + at * queries.len() / 3) % queries.len()];
                let began = Instant::now();
                match at {
                    0 => library(query)?,
                    1 => json(query, &mut client)?,
                    _ => bytes(query, &mut client)?,
                }
                *took = began.elapsed().as_secs_f64() * 1e6;
            }
            if round == 1 {
                latencies.iter_mut().zip(took).for_each(|(all, took)| all.push(took));
            }
        }
    }
    let p50: Vec<f64> = latencies.iter_mut().map(|all| median(all)).collect();
    println!(
        "p50 library {:.0} us; json {:+.0} us; bytes {:+.0} us",
        p50[0],
        p50[1] - p50[0],
        p50[2] - p50[0]
    );
    let cores = std::thread::available_parallelism()?.get();
    let of_library = a_second(cores, queries, || Ok(()), |query, ()| library(query))?;
    let of_json = a_second(CONNECTIONS, queries, || Client::to(address), json)?;
    let of_bytes = a_second(CONNECTIONS, queries, || Client::to(address), bytes)?;
    println!(
        "queries/s: library, {cores} threads {of_library:.0}; {CONNECTIONS} connections, json {:.0} %, bytes {:.0} %",
        100.0 * of_json / of_library,
        100.0 * of_bytes / of_library
    );
    Ok(())
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    percentile(all, 0.5)
}

/// Queries answered in a second by so many threads, each with a client of its own.
fn a_second<C>(
    threads: usize,
    queries: &[Vec<f32>],
    connect: impl Fn() -> Result<C> + Sync,
    ask: impl Fn(&Vec<f32>, &mut C) -> Result<()> + Sync,
) -> Result<f64> {
    let began = Instant::now();
    let counts = std::thread::scope(|scope| {
        let of_thread = |thread: usize| {
            let (connect, ask) = (&connect, &ask);
            scope.spawn(move || -> Result<usize> {
                let mut client = connect()?;
                let mut count = 0;
                while began.elapsed() < SPAN {
                    ask(&queries[(thread * 131 + count) % queries.len()], &mut client)?;
                    count += 1;
                }
                Ok(count)
            })
        };
        let all: Vec<_> = (0..threads).map(of_thread).collect();
        all.into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .sum::<Result<usize>>()
    })?;
    Ok(counts as f64 / began.elapsed().as_secs_f64())
}

/// Memory with many connections that load and ask.
fn many(collection: &Collection, address: SocketAddr, memory_mib: usize) -> Result<()> {
    let asked = collection.scroll(&Scroll::new().limit(MANY))?.points;
    ensure!(asked.len() == MANY, "expected {MANY} points at least");
    let path = &format!("/collections/{}/points/query", collection.name());
    let (before, _) = rss_bytes()?;
    forget_peak();
    std::thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = asked
            .iter()
            .map(|point| {
                scope.spawn(move || -> Result<()> {
                    let mut client = Client::to(address)?;
                    for _ in 0..50 {
                        let body = format!(r#"{{"query":"{}","limit":100,"with_vector":true}}"#, point.id);
                        client.ask("POST", path, "application/json", body.as_bytes())?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    let (_, peak) = rss_bytes()?;
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{MANY} connections: {} MiB before, {} MiB at most; the budget of the database is {memory_mib} MiB",
        mib(before),
        mib(peak)
    );
    Ok(())
}
