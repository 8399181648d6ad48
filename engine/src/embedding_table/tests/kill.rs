//! A process is killed at any moment while it trains; what it was told is written is found, bit for bit.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nearline_index::embedding::Method;
use nearline_storage::{IoMode, OsDisk};

use super::*;

const FOLDER: &str = "NEARLINE_TABLE_FOLDER";

/// What a table in memory becomes by the same steps.
enum Twin {
    Trained(Hash, nearline_index::embedding::Optimizer),
    Dynamic(Dynamic),
    /// Rows that are put, as the steps say.
    Rows(Rows<RowwiseCodec>),
}

impl Twin {
    fn step(&mut self, at: u64, ids: &[u64], gradients: &[f32]) {
        match self {
            Self::Trained(table, optimizer) => {
                nearline_index::embedding::train(table, ids, gradients, optimizer).unwrap();
            }
            Self::Dynamic(table) => table.train(ids, gradients, at).unwrap(),
            Self::Rows(table) => {
                ids.iter().zip(gradients.chunks(DIM)).for_each(|(&id, row)| table.put(id, row).unwrap());
            }
        }
    }

    fn bits(&self) -> Vec<u32> {
        match self {
            Self::Trained(table, _) => bits_below_80_of(table),
            Self::Dynamic(table) => bits_below_80_of(table),
            Self::Rows(table) => bits_below_80_of(table),
        }
    }
}
const SEED: u64 = 11;
/// Steps that all cycles together take at most.
const STEPS: usize = 40_000;

fn open_in(folder: &Path) -> EmbeddingTable {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder, IoMode::Pread).unwrap());
    EmbeddingTable { inner: Arc::new(Inner::open(disk, LIMITS, || Ok(None)).unwrap()) }
}

/// What the child does; a test without work otherwise.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let table = open_in(Path::new(&folder));
    let script = steps(SEED, STEPS);
    for (at, (ids, gradients)) in script.iter().enumerate().skip(table.pin().number() as usize) {
        let number = match table.pin().method().0 {
            Method::Rowwise => table.put(ids, gradients),
            _ => table.train_at(ids, gradients, at as u64),
        };
        let number = number.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).unwrap();
    }
}

/// `NEARLINE_KILL_CYCLES=300` for all of it, here and below.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let twin = trained(SEED);
    let optimizer = nearline_index::embedding::Optimizer::new(RULE, twin.shapes()).unwrap();
    survives(&Source::Trained(&twin.clone(), RULE), Twin::Trained(twin, optimizer));
}

#[test]
fn what_was_acknowledged_survives_a_kill_while_ids_come_and_go() {
    survives(&Source::Dynamic(&dynamic()), Twin::Dynamic(dynamic()));
}

#[test]
fn what_was_acknowledged_survives_a_kill_where_rows_lie_by_frequency() {
    let (twin, frequencies) = (served(SEED), (0..ROWS as u64).collect::<Vec<_>>());
    survives(&Source::ByFrequency(&twin, &frequencies), Twin::Rows(served(SEED)));
}

fn survives(source: &Source<'_>, mut twin: Twin) {
    let cycles = std::env::var("NEARLINE_KILL_CYCLES").map_or(8, |cycles| cycles.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(folder.path(), IoMode::Pread).unwrap();
    Inner::create(&disk, STORE, source).unwrap();
    let script = steps(SEED, STEPS);
    let (mut random, mut taken) = (Random(std::process::id().into()), 0);
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["embedding_table::tests::kill::child", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        // Every second one gets as far as writing, however long it takes to begin.
        let first = if cycle % 2 == 1 { numbers.next() } else { None };
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let promised = numbers.last().or(first).unwrap_or(taken);
        let table = open_in(folder.path());
        let found = table.pin().number();
        assert!(promised.max(taken) <= found, "cycle {cycle}: {found} after {promised} were acknowledged");
        for at in taken..found {
            let (ids, gradients) = &script[at as usize];
            twin.step(at, ids, gradients);
        }
        taken = found;
        assert_eq!(bits_below_80(&table), twin.bits(), "cycle {cycle}, version {found}");
        table.inner.verify().unwrap();
    }
    println!("{cycles} cycles, {taken} steps");
    assert!(taken > 0);
}
