//! A process that writes is killed at any moment; what it was told is written is found.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::asked;
use super::twin::{Call, Random, Twin, schema};
use crate::{Collection, Database};

/// The child's folder, and the number of its first call.
const FOLDER: &str = "NEARLINE_KILL_FOLDER";
const FIRST: &str = "NEARLINE_KILL_FIRST";

/// The call of a number.
fn call(number: u64) -> Call {
    Call::random(&mut Random(number.wrapping_mul(0x5851_f42d_4c95_7f2d)))
}

fn open(folder: &Path) -> (Database, Collection) {
    let database = Database::builder(folder).memory_budget(16 << 20).open().unwrap();
    let collection = database.collection("points").unwrap();
    (database, collection)
}

/// What the child does: nothing unless it is one.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (_database, collection) = open(&folder);
    let mut out = std::io::stdout();
    let maintained = collection.clone();
    std::thread::spawn(move || {
        for round in 0u64.. {
            if round.is_multiple_of(3) {
                maintained.compact().unwrap()
            } else {
                maintained.flush().unwrap()
            }
            std::thread::sleep(Duration::from_millis(round % 5));
        }
    });
    for number in asked(FIRST, 0).. {
        call(number).make(&collection).unwrap();
        writeln!(out, "\nACK {number}").unwrap();
    }
}

/// Starts a child, kills it after a while, and returns the number of its first call without an answer.
fn kill_one(folder: &Path, first: u64, random: &mut Random) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "collection::tests::kill::a_child_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("ACK ")?.parse::<u64>().ok()).last()
    });
    std::thread::sleep(Duration::from_millis(20 + random.below(180)));
    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap().map_or(first, |last| last + 1)
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::builder(folder.path()).open().unwrap();
        database.create_collection("points", schema()).unwrap();
    }
    let seed = std::process::id();
    let (mut twin, mut next, mut random) = (Twin::default(), 0, Random(seed.into()));
    for cycle in 0..asked("NEARLINE_KILL_CYCLES", 5) {
        let unknown = kill_one(folder.path(), next, &mut random);
        (next..unknown).for_each(|number| {
            twin.apply(&call(number));
        });
        next = unknown;
        let (_database, collection) = open(folder.path());
        collection.verify().unwrap();
        if !twin.equals(&collection) {
            twin.apply(&call(next));
            next += 1;
        }
        assert!(
            twin.equals(&collection),
            "cycle {cycle} of seed {seed}: not what was acknowledged up to {next}"
        );
        // Which of two points is older is not known: the last call may have written some again as they were.
        twin.is_never_contradicted(&collection);
    }
    assert!(next > 10, "{next}");
}
