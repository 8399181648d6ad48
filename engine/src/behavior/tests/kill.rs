//! A process that writes behaviours is killed at any moment; afterwards each is there once, or none of its write.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nearline_index::sdim::BucketTable;

use super::super::{Behavior, BehaviorError, BehaviorOptions, BehaviorSpace, EpochStage, SourceOffset, Span};
use super::{DIM, Random, serving, vector_of};
use crate::Database;

/// Partitions: each has a writer and users of its own.
const WRITERS: u64 = 3;
const USERS: u64 = 5;
const ITEMS: u64 = 30;

const FOLDER: &str = "NEARLINE_BEHAVIORS_FOLDER";
/// The numbers of the writers' first calls.
const FIRST: &str = "NEARLINE_BEHAVIORS_FIRST";

/// What a writer does under a number. It may do it again.
enum Call {
    Append(Vec<Behavior>),
    Delete(u64, Vec<u64>),
    Before(u64, i64),
    Truncate(u64, u64),
}

fn call(writer: u64, number: u64) -> Call {
    let mut random = Random((writer << 40 | number).wrapping_mul(0x5851_f42d_4c95_7f2d));
    let user = writer << 8 | random.below(USERS);
    let now = number as i64 * 10;
    match random.below(40) {
        0 => Call::Delete(user, (0..8).map(|i| (number.saturating_sub(i)) << 8).collect()),
        1 => Call::Before(user, now - 2_000),
        2 => Call::Truncate(user, random.below(200)),
        _ => {
            let one = |i: u64, random: &mut Random| {
                let late = if random.once_in(50) { random.below(5_000) as i64 } else { 0 };
                let event = if random.once_in(30) { random.next() } else { number << 8 | i };
                let user = writer << 8 | random.below(USERS);
                let one =
                    Behavior::new(user, event, now + random.below(4) as i64 - late, random.below(ITEMS));
                if random.once_in(6) { one.vector(random.vector()) } else { one }
            };
            Call::Append((0..1 + random.below(40)).map(|i| one(i, &mut random)).collect())
        }
    }
}

fn source(writer: u64, offset: u64) -> SourceOffset {
    SourceOffset { source: "clicks".to_owned(), partition: writer as u32, offset }
}

fn make(space: &BehaviorSpace, writer: u64, number: u64) -> Result<(), BehaviorError> {
    match call(writer, number) {
        Call::Append(behaviors) => space.append_from(source(writer, number), behaviors),
        Call::Delete(user, events) => space.delete_events(user, &events),
        Call::Before(user, time) => space.delete_before(user, time),
        Call::Truncate(user, keep) => space.truncate(user, keep),
    }
    .map(drop)
}

/// What a writer's calls up to a number leave, worked out without files.
#[derive(Clone, Default)]
struct Ledger {
    next: u64,
    users: BTreeMap<u64, Vec<Behavior>>,
    mark: Option<u64>,
}

impl Ledger {
    fn step(&mut self, writer: u64) {
        match call(writer, self.next) {
            Call::Append(behaviors) => {
                self.mark = Some(self.next);
                for one in behaviors {
                    let there = self.users.entry(one.user).or_default();
                    if there.iter().all(|there| there.event != one.event) {
                        there.push(one);
                        there.sort_by_key(|one| (one.time, one.event));
                    }
                }
            }
            Call::Delete(user, events) => {
                self.users.entry(user).or_default().retain(|one| !events.contains(&one.event));
            }
            Call::Before(user, time) => self.users.entry(user).or_default().retain(|one| one.time >= time),
            Call::Truncate(user, keep) => {
                let there = self.users.entry(user).or_default();
                drop(there.drain(..there.len().saturating_sub(keep as usize)));
            }
        }
        self.next += 1;
    }

    /// Whether a space has exactly this.
    fn is_in(&self, space: &BehaviorSpace, writer: u64) -> bool {
        let mark = space.sources().into_iter().find(|mark| u64::from(mark.partition) == writer);
        mark.map(|mark| mark.offset) == self.mark
            && (0..USERS).map(|user| writer << 8 | user).all(|user| {
                let there = space.now().behaviors(user, Span::Last(usize::MAX)).unwrap();
                let expected = self.users.get(&user).cloned().unwrap_or_default();
                there.len() == expected.len() && there.iter().zip(&expected).all(is_one)
            })
    }

    /// Compares tables with those of the behaviours.
    fn check_tables(&self, space: &BehaviorSpace, when: &str) {
        let epoch = serving(space);
        let family = &epoch.family;
        for &user in self.users.keys() {
            let mut table = BucketTable::new(space.shape());
            for one in space.now().behaviors(user, Span::Last(usize::MAX)).unwrap() {
                let vector = one.vector.clone().unwrap_or_else(|| item_vector(epoch.of, one.item));
                table.add(&vector, &family.signatures(&vector).unwrap()).unwrap();
            }
            let found = space.now().tables(&[user]).unwrap().remove(0).table;
            let found = (found.sums(), found.counts());
            assert_eq!(found, (table.sums(), table.counts()), "{when}: table of user {user}");
        }
    }
}

/// Whether a behaviour is this one. A vector of its own is not shown among other embeddings.
fn is_one((found, expected): (&Behavior, &Behavior)) -> bool {
    let bare = |one: &Behavior| Behavior { vector: None, ..one.clone() };
    (found.vector.is_none() || found.vector == expected.vector) && bare(found) == bare(expected)
}

/// The vector of an item among embeddings.
fn item_vector(of: u32, item: u64) -> Vec<f32> {
    vector_of(item ^ u64::from(of - 1) << 32)
}

fn items_of(of: u32) -> (Vec<u64>, Vec<f32>) {
    ((0..ITEMS).collect(), (0..ITEMS).flat_map(|item| item_vector(of, item)).collect())
}

/// Takes one step of a change of epochs.
fn change(space: &BehaviorSpace, random: &mut Random) -> Result<(), BehaviorError> {
    let infos = space.epochs();
    if let Some(info) = infos.iter().find(|info| info.stage == EpochStage::Filling) {
        let of = space.inner.state().epochs.get(info.number).map_or(1, |(epoch, _)| epoch.of);
        let (items, vectors) = items_of(of);
        space.put_items_of(info.number, &items, &vectors)?;
        return space.build_epoch(info.number);
    }
    if infos.iter().any(|info| matches!(info.stage, EpochStage::Building { .. })) {
        return Ok(());
    }
    if let Some(kept) = infos.iter().find(|info| info.stage == EpochStage::Kept) {
        return space.drop_epoch(kept.number);
    }
    let version = match random.once_in(2) {
        true => format!("e{}", random.next()),
        false => space.stats().embedding_version,
    };
    let options = BehaviorOptions::new(DIM).hashes(1 + random.below(4) as usize, 2).seed(random.next());
    space.create_epoch(options.embedding_version(version), random.once_in(2)).map(drop)
}

fn open(folder: &Path) -> (Database, BehaviorSpace) {
    // Small enough for files to be written all the time.
    let database = Database::builder(folder).memory_budget(16 << 20).open().unwrap();
    let space = database.behavior_space("s").unwrap();
    (database, space)
}

fn create(folder: &Path) {
    let database = Database::builder(folder).open().unwrap();
    let options = BehaviorOptions::new(DIM).hashes(4, 2).seed(7);
    let space = database.create_behavior_space("s", options).unwrap();
    let (items, vectors) = items_of(1);
    space.put_items(&items, &vectors).unwrap();
}

fn tell(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes());
}

/// What the child does: nothing unless it is one.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (_database, space) = open(&folder);
    let first = std::env::var(FIRST).unwrap();
    for (writer, first) in first.split(',').map(|first| first.parse().unwrap()).enumerate() {
        let (space, writer) = (space.clone(), writer as u64);
        std::thread::spawn(move || {
            for number in first.. {
                match make(&space, writer, number) {
                    Ok(()) => tell(&format!("ACK {writer} {number}")),
                    Err(error) => return tell(&format!("WRONG {error}")),
                }
                if number % 16 == 0 {
                    space.flush().unwrap();
                }
            }
        });
    }
    std::thread::spawn({
        let (space, mut random) = (space.clone(), Random(std::process::id().into()));
        move || {
            loop {
                if let Err(error) = change(&space, &mut random) {
                    return tell(&format!("WRONG {error}"));
                }
                std::thread::sleep(Duration::from_micros(random.below(4_000)));
            }
        }
    });
    std::thread::spawn(move || {
        for user in 0.. {
            let user = ((user % WRITERS) << 8) | (user % USERS);
            if let Err(error) = space.now().tables(&[user]) {
                tell(&format!("WRONG {error}"));
            }
        }
    });
    // A parent that is gone cannot kill it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// Runs a child for a while, kills it, and says how far each writer was told it had come.
fn run_and_kill(folder: &Path, ledgers: &[Ledger], wait: Duration, when: &str) -> Vec<u64> {
    let mut acked: Vec<u64> = ledgers.iter().map(|ledger| ledger.next).collect();
    let first = acked.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "behavior::tests::kill::a_child_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(wait);
    child.kill().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    // A line without its end was cut off.
    while output.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
        assert!(!line.starts_with("WRONG"), "{when}: {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["ACK", writer, number] = words[..] {
            acked[writer.parse::<usize>().unwrap()] = number.parse::<u64>().unwrap() + 1;
        }
        line.clear();
    }
    child.wait().unwrap();
    acked
}

#[test]
fn what_was_acknowledged_is_there_once_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    create(folder);
    let asked = |name: &str, usual: u64| std::env::var(name).map_or(usual, |asked| asked.parse().unwrap());
    let seed = asked("NEARLINE_KILL_SEED", std::process::id().into());
    let (mut random, mut ledgers) = (Random(seed), vec![Ledger::default(); WRITERS as usize]);
    let mut lost = 0;
    let cycles = asked("NEARLINE_KILL_CYCLES", 6);
    let done = |ledgers: &[Ledger]| ledgers.iter().map(|ledger| ledger.next).sum::<u64>();
    for cycle in 0..20 * cycles {
        // Where the machine is slow, little is done before a kill: later ones come later, and there are more.
        let slower = 1 + cycle / cycles;
        if slower > 1 && done(&ledgers) > 20 {
            break;
        }
        let when = format!("cycle {cycle} of seed {seed}");
        let most = if random.once_in(10) { 1_000_000 } else { 200_000 };
        let wait = Duration::from_micros(random.below(most * slower));
        let acked = run_and_kill(folder, &ledgers, wait, &when);
        // The table files are derived: now and then one is gone.
        if random.once_in(8) {
            lost += u64::from(lose_tables(folder, &mut random));
        }
        let (_database, space) = open(folder);
        // A change of epochs goes on where it was.
        space.finish_build().unwrap_or_else(|error| panic!("{when}: {error}"));
        if lost == 0 {
            space.inner.verify().unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        for (writer, (ledger, acked)) in ledgers.iter_mut().zip(acked).enumerate() {
            let writer = writer as u64;
            while ledger.next < acked {
                ledger.step(writer);
            }
            if !ledger.is_in(&space, writer) {
                // The call that was under way counts whole, or not at all.
                ledger.step(writer);
                assert!(ledger.is_in(&space, writer), "{when}: writer {writer} after {acked} calls");
                // It will come again.
                let mut before = ledger.clone();
                before.next -= 1;
                *ledger = before;
            }
            ledger.check_tables(&space, &when);
        }
        if random.once_in(4) {
            space.flush().unwrap();
            if space.inner.verify().is_ok() {
                lost = 0;
            }
        }
    }
    let done = done(&ledgers);
    println!("{done} calls, epoch {}", open(folder).1.stats().epoch);
    assert!(done > 20, "{done} calls");
}

/// Damages a file of tables, if there is one.
fn lose_tables(folder: &Path, random: &mut Random) -> bool {
    let folder = folder.join("behaviors.000001");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_tables = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("tables.");
    let Some(path) = files.into_iter().find(is_tables) else { return false };
    if random.once_in(2) {
        std::fs::remove_file(path).unwrap();
    } else {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        std::fs::write(&path, bytes).unwrap();
    }
    true
}
