//! A process is killed at any moment while it trains; what it was told is written is found, bit for bit.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nearline_storage::{IoMode, OsDisk};

use super::*;

const FOLDER: &str = "NEARLINE_TABLE_FOLDER";
const SEED: u64 = 11;
/// Steps that all cycles together take at most.
const STEPS: usize = 40_000;

fn open_in(folder: &Path) -> EmbeddingTable {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder, IoMode::Pread).unwrap());
    EmbeddingTable { inner: Arc::new(Inner::open(disk, LIMITS, None).unwrap()) }
}

/// What the child does; a test without work otherwise.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let table = open_in(Path::new(&folder));
    let script = steps(SEED, STEPS);
    for (ids, gradients) in &script[table.pin().number() as usize..] {
        let number = table.train(ids, gradients).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).unwrap();
    }
}

/// `NEARLINE_KILL_CYCLES=300` for all of it.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let cycles = std::env::var("NEARLINE_KILL_CYCLES").map_or(8, |cycles| cycles.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(folder.path(), IoMode::Pread).unwrap();
    Inner::create(&disk, STORE, &Source::Trained(&trained(SEED), RULE)).unwrap();
    let script = steps(SEED, STEPS);
    let mut twin = trained(SEED);
    let mut optimizer = nearline_index::embedding::Optimizer::new(RULE, twin.shapes()).unwrap();
    let (mut random, mut taken) = (Random(std::process::id().into()), 0);
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["embedding_table::tests::kill::child", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let promised = numbers.last().unwrap_or(taken);
        let table = open_in(folder.path());
        let found = table.pin().number();
        assert!(promised.max(taken) <= found, "cycle {cycle}: {found} after {promised} were acknowledged");
        for (ids, gradients) in &script[taken as usize..found as usize] {
            nearline_index::embedding::train(&mut twin, ids, gradients, &mut optimizer).unwrap();
        }
        taken = found;
        assert_eq!(bits(&table), bits_of(&twin), "cycle {cycle}, version {found}");
        table.inner.verify().unwrap();
    }
    println!("{cycles} cycles, {taken} steps");
    assert!(taken > 0);
}
