//! A process that uses a collection in all ways at once until it is killed, and tells what it was told.
//!
//! Each of its writers has points of its own and makes calls by number, one after another; meanwhile others read, flush,
//! merge and take snapshots, and the background builds indexes. It tells its parent what was acknowledged, a line each.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::twin::{Call, Pick, Random};
use crate::{
    Collection, Condition, Database, Durability, FieldType, Filter, OpenError, Payload, Point, PointId,
    Query, Scroll, Uuid,
};

/// Writers. The last has [`TOGETHER`] points, all of one version at any time, or none.
pub(super) const WRITERS: usize = 4;
const TOGETHER: u64 = 8;

const FOLDER: &str = "NEARLINE_CHILD_FOLDER";
/// The numbers of the first calls of all writers; a child without them only opens the database.
const FIRST: &str = "NEARLINE_CHILD_FIRST";
/// What the names of its snapshots begin with.
const NAME: &str = "NEARLINE_CHILD_NAME";

/// The call of a writer with a number.
pub(super) fn call(writer: usize, number: u64) -> Call {
    if writer == WRITERS - 1 {
        let ids = (0..TOGETHER).map(|id| own_id(id.into(), writer));
        if number % 5 == 4 {
            return Call::Delete(Pick::Ids(ids.collect()));
        }
        let payload = Payload::new().with("v", number);
        let point = |id: PointId| Point::new(id).vector([number as f32, 1.0]).payload(payload.clone());
        return Call::Upsert(ids.map(point).collect(), Durability::Synced);
    }
    let seed = (writer as u64) << 40 | number;
    own(Call::random(&mut Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d))), writer)
}

/// The writer whose point an id is.
pub(super) fn writer_of(id: PointId) -> usize {
    match id {
        PointId::Number(number) => (number >> 56) as usize,
        PointId::Uuid(Uuid(bytes)) => usize::from(bytes[0] >> 4),
    }
}

fn own_id(id: PointId, writer: usize) -> PointId {
    match id {
        PointId::Number(number) => PointId::Number((writer as u64) << 56 | number),
        PointId::Uuid(Uuid(mut bytes)) => {
            bytes[0] |= (writer as u8) << 4;
            PointId::Uuid(Uuid(bytes))
        }
    }
}

/// The same call about a writer's own points only.
fn own(call: Call, writer: usize) -> Call {
    let near = (0..18u64).flat_map(|near| [near, near << 50]).map(PointId::from);
    let all = near.chain((0..6).map(|byte| PointId::Uuid(Uuid([byte; 16]))));
    let all: Vec<PointId> = all.map(|id| own_id(id, writer)).collect();
    let pick = |pick| match pick {
        Pick::Ids(ids) => Pick::Ids(ids.into_iter().map(|id| own_id(id, writer)).collect()),
        Pick::Filter(filter) => Pick::Filter(filter.and_must([Condition::has_id(all.clone())])),
    };
    match call {
        Call::Upsert(mut points, durability) => {
            points.iter_mut().for_each(|point| point.id = own_id(point.id, writer));
            Call::Upsert(points, durability)
        }
        Call::Delete(of) => Call::Delete(pick(of)),
        Call::Set(of, payload) => Call::Set(pick(of), payload),
        Call::Overwrite(of, payload) => Call::Overwrite(pick(of), payload),
        Call::Remove(of, keys) => Call::Remove(pick(of), keys),
        Call::Clear(of) => Call::Clear(pick(of)),
        Call::Vectors(of, vectors) => Call::Vectors(pick(of), vectors),
        Call::VectorsEach(points) => {
            let own = |(id, vectors)| (own_id(id, writer), vectors);
            Call::VectorsEach(points.into_iter().map(own).collect())
        }
    }
}

pub(super) fn open(folder: &Path) -> (Database, Collection) {
    try_open(folder).unwrap()
}

fn try_open(folder: &Path) -> Result<(Database, Collection), OpenError> {
    // Small enough for everything to happen all the time.
    let mut builder = Database::builder(folder).memory_budget(16 << 20);
    builder.index_rows = 40;
    let database = builder.open()?;
    let collection = database.collection("points")?;
    Ok((database, collection))
}

/// How far a writer is: calls that were begun, and that were acknowledged.
#[derive(Debug, Default)]
struct Far {
    begun: AtomicU64,
    acked: AtomicU64,
}

fn tell(line: &str) {
    // In one piece, and on lines of its own: the harness writes there, too.
    let _ = std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes());
}

/// What the child does: nothing unless it is one.
#[test]
fn a_child_goes_on_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    std::panic::set_hook(Box::new(|panic| {
        tell(&format!("WRONG {}", panic.to_string().replace('\n', " ")));
        std::process::exit(1);
    }));
    // The disk may be gone by now: it is the parent who knows whether an error is one.
    let opened = try_open(&folder);
    match &opened {
        Ok((_, collection)) => {
            tell("OPEN");
            if let Ok(first) = std::env::var(FIRST) {
                let first = first.split(',').map(|first| first.parse().unwrap()).collect::<Vec<u64>>();
                begin(collection, &first);
            }
        }
        Err(error) => tell(&format!("ERROR open: {}", failed(error))),
    }
    // A parent that is gone cannot kill it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// What a thread does, and why it ends.
type Work = dyn FnOnce(&Collection) -> Result<(), String> + Send;

/// Starts all threads.
fn begin(collection: &Collection, first: &[u64]) {
    let far: Arc<Vec<Far>> = Arc::new((0..WRITERS).map(|_| Far::default()).collect());
    for (far, &first) in far.iter().zip(first) {
        far.begun.store(first, Ordering::SeqCst);
        far.acked.store(first, Ordering::SeqCst);
    }
    let spawn = |what: &'static str, work: Box<Work>| {
        let collection = collection.clone();
        std::thread::spawn(move || {
            if let Err(error) = work(&collection) {
                tell(&format!("ERROR {what}: {error}"));
            }
        });
    };
    for (writer, &first) in first.iter().enumerate() {
        let far = Arc::clone(&far);
        spawn("write", Box::new(move |on| write(on, writer, first, &far[writer])));
    }
    let seed: u64 = first.iter().sum();
    for reader in 0..2 {
        spawn("read", Box::new(move |on| read(on, Random(seed ^ reader))));
    }
    spawn("maintain", Box::new(move |on| maintain(on, Random(seed ^ 2))));
    spawn("snapshot", Box::new(move |on| snapshot(on, Random(seed ^ 3), &far)));
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string().replace('\n', " ")
}

fn write(on: &Collection, writer: usize, first: u64, far: &Far) -> Result<(), String> {
    for number in first.. {
        far.begun.store(number + 1, Ordering::SeqCst);
        let lsn = call(writer, number).make(on).map_err(failed)?.lsn;
        far.acked.store(number + 1, Ordering::SeqCst);
        tell(&format!("ACK {writer} {number} {lsn}"));
    }
    Ok(())
}

/// What belongs together is seen together, whatever else goes on.
fn read(on: &Collection, mut random: Random) -> Result<(), String> {
    loop {
        let all = on.scroll(&Scroll::new().limit(1 << 16)).map_err(failed)?.points;
        check_together(&all);
        let query = Query::nearest([random.below(7) as f32, 1.0]).k(1 << 10).with_payload(true);
        let query = if random.once_in(2) { query.target_recall(1.0) } else { query };
        let hits = on.query(&query).map_err(failed)?.hits;
        let ids: BTreeSet<PointId> = hits.iter().map(|hit| hit.id).collect();
        assert_eq!(ids.len(), hits.len(), "a point is found twice");
        let point = |hit: &crate::ScoredPoint| Point::new(hit.id).payload(hit.payload.clone().unwrap());
        check_together(&hits.iter().map(point).collect::<Vec<_>>());
        let some = Filter::must([Condition::range("n").gte(2)]);
        let count = on.count(Some(&some)).map_err(failed)?;
        assert!(count <= 200, "{count} points match of about 130");
    }
}

/// The points of the last writer are all there and of one version, or none is.
pub(super) fn check_together(points: &[Point]) {
    let of_last = points.iter().filter(|point| writer_of(point.id) == WRITERS - 1);
    let versions: Vec<_> = of_last.map(|point| point.payload.get("v")).collect();
    let one = versions.iter().all(|version| *version == versions[0]);
    assert!(one && [0, TOGETHER as usize].contains(&versions.len()), "half of a write: {versions:?}");
}

fn maintain(on: &Collection, mut random: Random) -> Result<(), String> {
    loop {
        let done = if random.once_in(3) { on.compact() } else { on.flush() };
        done.map_err(failed)?;
        match random.below(40) {
            0 => on.create_field_index("n", FieldType::Integer).map_err(failed)?,
            1 => on.create_field_index("tags", FieldType::Keyword).map_err(failed)?,
            2 => drop(on.drop_field_index("tags").map_err(failed)?),
            3 => on.rebuild_vector_indexes().map_err(failed)?,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(random.below(8)));
    }
}

/// Takes snapshots and drops old ones. What a snapshot has is what was there between its beginning and its end.
fn snapshot(on: &Collection, mut random: Random, far: &[Far]) -> Result<(), String> {
    let name = std::env::var(NAME).unwrap();
    let numbers = |of: fn(&Far) -> &AtomicU64| {
        far.iter().fold(String::new(), |mut all, far| {
            let _ = write!(all, " {}", of(far).load(Ordering::SeqCst));
            all
        })
    };
    for at in 0.. {
        std::thread::sleep(Duration::from_millis(random.below(40)));
        let acked = numbers(|far| &far.acked);
        on.snapshot(&format!("{name}-{at:04}")).map_err(failed)?;
        let begun = numbers(|far| &far.begun);
        tell(&format!("KEPT {name}-{at:04}{acked}{begun}"));
        for old in on.snapshots().map_err(failed)?.iter().rev().skip(2) {
            tell(&format!("GONE {old}"));
            on.drop_snapshot(old).map_err(failed)?;
        }
    }
    Ok(())
}

/// An acknowledged call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) number: u64,
    pub(super) lsn: u64,
}

/// A snapshot that is there: its name, and of each writer the calls that it must have and that it may have.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) least: Vec<u64>,
    pub(super) most: Vec<u64>,
}

/// What a child told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) opened: bool,
    /// By writer, in order.
    pub(super) acks: Vec<Vec<Ack>>,
    pub(super) kept: Vec<Kept>,
    /// What failed: an error, which may be the disk's, or something wrong.
    pub(super) errors: Vec<String>,
    pub(super) wrong: Vec<String>,
}

impl Told {
    pub(super) fn nothing() -> Self {
        Self {
            opened: false,
            acks: vec![Vec::new(); WRITERS],
            kept: Vec::new(),
            errors: Vec::new(),
            wrong: Vec::new(),
        }
    }

    fn take(&mut self, line: &str) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match kind {
            "OPEN" => self.opened = true,
            "ACK" => {
                // The last line may be cut off, but it is not without its end then.
                let (writer, call, lsn) = (number().unwrap(), number().unwrap(), number().unwrap());
                self.acks[writer as usize].push(Ack { number: call, lsn });
            }
            "KEPT" => {
                let (name, numbers) = rest.split_once(' ').unwrap();
                let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                let (least, most) = numbers.split_at(WRITERS);
                self.kept.push(Kept { name: name.to_owned(), least: least.to_vec(), most: most.to_vec() });
            }
            "GONE" => self.kept.retain(|kept| kept.name != rest),
            "ERROR" => self.errors.push(rest.to_owned()),
            "WRONG" => self.wrong.push(rest.to_owned()),
            _ => {}
        }
    }
}

/// A child, seen by its parent.
pub(super) struct Child {
    child: std::process::Child,
    told: Arc<Mutex<Told>>,
    reader: JoinHandle<()>,
}

impl Child {
    /// Starts a child, whose writers begin with these calls; without them it only opens the database.
    pub(super) fn start(folder: &Path, name: &str, first: Option<&[u64]>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "collection::tests::process::a_child_goes_on_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(first) = first {
            command.env(FIRST, first.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
        }
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let told = Arc::new(Mutex::new(Told::nothing()));
        let shared = Arc::clone(&told);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            // A line without its end was cut off.
            while output.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
                shared.lock().unwrap().take(line.trim_end());
                line.clear();
            }
        });
        Self { child, told, reader }
    }

    /// What it told so far.
    pub(super) fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Kills it, and returns all it told.
    pub(super) fn kill(mut self) -> Told {
        let ended = self.child.try_wait().unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap();
        let told = self.told.lock().unwrap().clone();
        assert!(told.wrong.is_empty() && ended.is_none(), "{:?} {:?}", told.wrong, told.errors);
        told
    }
}
