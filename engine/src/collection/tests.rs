//! Collections against their twin, and against crashes, faults and damage.

mod calibrate;
mod codes;
mod crash;
mod damage;
mod facet;
mod faults;
mod fields;
mod index;
mod judged;
mod kill;
mod ledger;
mod model;
mod order;
pub(super) mod orders;
mod planted;
mod power;
mod process;
mod rows;
pub(crate) mod ruled;
mod threads;
mod tier;
mod twin;
mod version;

use std::sync::Arc;

use nearline_storage::{BlockCache, Disk, IoMode, SimDisk};

use super::{Collection, Limits, Opening};
use crate::live_tier::TierUse;
use crate::{FieldType, OpenError, TextOptions, WriteError};
use twin::{Call, Random, schema};

const STORE: u64 = 0x5707_e002;
/// Small, so that a log has many segments.
const LIMITS: Limits = Limits {
    flush_bytes: 1 << 20,
    delta_bytes: 2 << 20,
    log_bytes: 4 << 20,
    key_bytes: 2_000,
    index_rows: 40,
    index_memory: 128 << 20,
    index_added: 1 << 20,
    index_cache: 1 << 20,
    codes_bytes: 1 << 20,
    log_segment_bytes: 8192,
};

/// Field indexes that tests create.
const FIELDS: [(&str, FieldType); 8] = [
    ("n", FieldType::Integer),
    ("city", FieldType::Keyword),
    ("n", FieldType::Keyword),
    ("x", FieldType::Text(TEXT)),
    ("tags", FieldType::Keyword),
    ("at", FieldType::Geo),
    ("rooms[].area", FieldType::Float),
    ("rooms[].sunny", FieldType::Bool),
];
/// As conditions without an index take texts apart: the twin knows no indexes.
const TEXT: TextOptions = TextOptions {
    tokenizer: crate::Tokenizer::Word,
    lowercase: true,
    min_token_len: None,
    max_token_len: None,
};

/// With a thread that flushes and merges.
const BACKGROUND: Opening = Opening {
    background: true,
    io: IoMode::Auto,
    keeps_leftovers: false,
    tier: TierUse::LeaveAlone,
    database: None,
};

/// An empty collection on a disk in memory.
fn create(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Collection::create(&disk, STORE, &schema()).unwrap();
    disk
}

/// An empty collection of another schema, open.
fn disk_collection(seed: u64, schema: &crate::Schema) -> Collection {
    let disk = SimDisk::new(seed);
    Collection::create(&disk, STORE, schema).unwrap();
    open(&disk).unwrap()
}

fn open(disk: &SimDisk) -> Result<Collection, OpenError> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    Collection::open_on(planted::disk_of(disk), "points", LIMITS, cache, Opening::default())
}

/// A folder by the names of its files.
type Files = Vec<(String, Vec<u8>)>;

fn files_of(disk: &SimDisk) -> Files {
    let bytes = |name: String| (name.clone(), disk.bytes(&name).unwrap());
    disk.list().unwrap().into_iter().map(bytes).collect()
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(0);
    for (name, bytes) in files {
        let file = disk.create(name).unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir().unwrap();
    disk
}

/// What a test does with a collection.
#[derive(Clone, Debug)]
enum Step {
    Call(Call),
    Flush,
    Merge {
        first: usize,
        count: usize,
    },
    Compact,
    Sync,
    Create {
        path: &'static str,
        field_type: FieldType,
    },
    Drop {
        path: &'static str,
    },
    Build,
    /// The vectors of a place in the schema get an index of what is in segments.
    Index {
        at: usize,
    },
    /// The vectors of the first name get questions.
    Calibrate,
}

impl Step {
    fn random(random: &mut Random) -> Self {
        match random.below(24) {
            0..3 => Self::Flush,
            3..5 => Self::Merge { first: random.below(3) as usize, count: 1 + random.below(3) as usize },
            5 if random.once_in(2) => Self::Sync,
            5 => Self::Compact,
            6 => {
                let (path, field_type) = FIELDS[random.below(FIELDS.len() as u64) as usize];
                Self::Create { path, field_type }
            }
            7 if random.once_in(3) => {
                Self::Drop { path: FIELDS[random.below(FIELDS.len() as u64) as usize].0 }
            }
            8 if random.once_in(3) => match random.below(3) {
                2 => Self::Calibrate,
                at => Self::Index { at: at as usize },
            },
            7..9 => Self::Build,
            _ => Self::Call(Call::random(random)),
        }
    }

    /// Some by chance, and among them that the points are flushed and get a vector index, measured with questions.
    fn some(random: &mut Random, count: u64) -> Vec<Self> {
        let mut steps: Vec<Self> = (0..count).map(|_| Self::random(random)).collect();
        let middle = steps.len() / 2;
        steps.splice(middle..middle, [Self::Flush, Self::Index { at: 0 }, Self::Calibrate]);
        steps
    }

    /// Whether it syncs the log.
    fn is_synced(&self) -> bool {
        match self {
            Self::Call(call) => call.is_synced(),
            Self::Flush | Self::Merge { .. } | Self::Compact | Self::Sync | Self::Index { .. } => true,
            Self::Create { .. } | Self::Drop { .. } | Self::Build | Self::Calibrate => false,
        }
    }

    /// Does what is not a call.
    fn maintain(&self, on: &Collection) -> Result<(), crate::WriteError> {
        match self {
            Self::Call(_) => Ok(()),
            Self::Flush => on.flush(),
            Self::Merge { first, count } => on.shared.inner.merge(*first, *count),
            Self::Compact => on.compact(),
            Self::Sync => on.sync(),
            Self::Create { path, field_type } => {
                let there = on.field_indexes().into_iter().find(|index| index.path == *path);
                match (on.create_field_index(path, *field_type), there) {
                    (Err(WriteError::FieldType { .. }), Some(there)) if there.field_type != *field_type => {
                        Ok(())
                    }
                    (made, _) => made,
                }
            }
            Self::Drop { path } => on.drop_field_index(path).map(drop),
            Self::Build => on.shared.inner.build_all_fields(),
            Self::Index { at } => on.shared.inner.build_index(*at),
            Self::Calibrate => on.calibrate("", twin::questions(), 3).map(drop),
        }
    }
}

/// One in so many is tried, unless all are asked for.
fn one_in(few: usize) -> usize {
    if std::env::var_os("NEARLINE_FULL").is_some() { 1 } else { few }
}

/// A number from the environment.
fn asked(name: &str, default: u64) -> u64 {
    let asked = std::env::var(name).ok();
    asked.map_or(default, |asked| asked.parse().expect("a number"))
}

/// Nothing but what the collection and its log are made of.
fn check_names(disk: &SimDisk) {
    let names = disk.list().unwrap();
    let is_known = |name: &&String| {
        [
            "COLLECTION",
            "points.",
            "ids.",
            "vectors.",
            "rows.",
            "dead.",
            "field.",
            "index.",
            "questions.",
            "wal.",
        ]
        .iter()
        .any(|start| name.starts_with(start))
            && !nearline_storage::is_temp_name(name)
    };
    assert!(names.iter().all(|name| is_known(&name)), "{names:?}");
}
