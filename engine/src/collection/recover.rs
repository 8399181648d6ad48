//! Opening a collection: the manifest, its segments, and what the log has beyond them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, Weak};

use nearline_index::RowId;
use nearline_storage::{BlockCache, Disk, Group, LockMode, StorageError, Wal, WalOptions};
use roaring::RoaringBitmap;

use super::flush::{known_dead, orphans, remove_all};
use super::index;
use super::maintain;
use super::tier::Keeper;
use super::{Background, Collection, Files, Handle, Inner, Limits, Opening, Writer, locked};
use crate::error::OpenError;
use crate::manifest::{Manifest, read_dead};
use crate::record::{Change, decode_changes};
use crate::segment::{Segment, SegmentInfo};
use crate::state::State;
use crate::vector_index::{Listed, VectorIndex, open_rows};

impl Collection {
    /// Opens the collection in the folder that `disk` is.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        name: &str,
        limits: Limits,
        cache: Arc<BlockCache>,
        opening: Opening,
    ) -> Result<Self, OpenError> {
        let lock = disk.lock(LockMode::Exclusive).map_err(|error| match error {
            StorageError::Locked { dir } => OpenError::InUse { dir },
            error => error.into(),
        })?;
        let manifest = Manifest::read(disk.as_ref())?;
        if !opening.keeps_leftovers {
            // What a crash left between writing files and naming them.
            remove_all(disk.as_ref(), &orphans(disk.as_ref(), &manifest, None)?)?;
        }
        let (state, writer) = recover(&disk, &manifest, limits, &cache)?;
        let (root, store_id) = (disk.root().to_owned(), manifest.store_id);
        let keeper = |inner: &Weak<Inner>| Keeper::new(inner, &root, store_id, opening.tier);
        let inner = Arc::new_cyclic(|weak| Inner {
            name: Mutex::new(name.to_owned()),
            schema: manifest.schema.clone(),
            disk,
            io: opening.io,
            cache,
            limits,
            state: Mutex::new(Arc::new(state)),
            writer: Mutex::new(writer),
            group: Group::new(),
            files: Mutex::new(Files { manifest, untidy: opening.keeps_leftovers, building: BTreeSet::new() }),
            has_background: opening.background,
            keeps_leftovers: opening.keeps_leftovers,
            background: Mutex::new(Background { has_work: opening.background, ..Background::default() }),
            changed: Condvar::new(),
            barren: Mutex::default(),
            outgrown: Mutex::default(),
            waiting: AtomicUsize::new(0),
            writes_lists: AtomicBool::new(false),
            crowded: Mutex::default(),
            uncodable: Mutex::default(),
            written: Mutex::default(),
            keeper: keeper(weak),
            versions: Mutex::new(BTreeMap::new()),
            version_cache: AtomicU64::new(0),
            dropped: AtomicBool::new(false),
            _lock: lock,
            _database: opening.database,
        });
        let shared = Arc::new(Handle { inner, maintenance: Mutex::default() });
        let inner = &shared.inner;
        let starts = [maintain::start, index::start];
        for start in starts.iter().filter(|_| opening.background) {
            let thread = start(Arc::clone(inner))
                .map_err(|error| StorageError::io(inner.disk.root(), "start a thread for", error))?;
            locked(&shared.maintenance).push(thread);
        }
        inner.tend_tier();
        Ok(Self { shared })
    }
}

fn recover(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    limits: Limits,
    cache: &Arc<BlockCache>,
) -> Result<(State, Writer), OpenError> {
    let mut state = open_state(disk, manifest, limits.index_cache, cache)?;
    let mut next_row = manifest.next_row;
    let path = disk.root().join("wal");
    let replay = &mut |lsn: u64, bytes: &[u8]| {
        let changes = decode_changes(bytes, &manifest.schema, &path, 0)?;
        for change in &changes {
            if let Change::Put { point, .. } = change {
                next_row = next_row.max(RowId(point.row.0.saturating_add(1)));
            }
        }
        state.apply(&changes, lsn, bytes.len());
        Ok(())
    };
    let options = WalOptions { segment_bytes: limits.log_segment_bytes };
    let wal = Wal::open(Arc::clone(disk), manifest.store_id, options, manifest.flushed_lsn, replay)?;
    state.lsn = state.lsn.max(wal.last_lsn());
    Ok((state, Writer { wal, next_row }))
}

/// The points that are in the files of a manifest. Each vector index keeps so many bytes of what it reads.
pub(super) fn open_state(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    index_cache: u64,
    cache: &Arc<BlockCache>,
) -> Result<State, OpenError> {
    let open = |info: &SegmentInfo| {
        Segment::open(disk, manifest.store_id, &manifest.schema, info.clone(), cache).map(Arc::new)
    };
    let segments = manifest.segments.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut indexes = vec![None; manifest.schema.len()];
    for info in &manifest.indexes {
        // One that does not open is missed by nobody: it is due then. `verify` says what is wrong with it.
        let opened = VectorIndex::open(disk, info.clone(), index_cache);
        let rows = open_rows(disk.as_ref(), &segments, info.at);
        indexes[info.at] = opened.ok().zip(rows.ok()).map(|(index, rows)| Listed::new(index, rows));
    }
    let dead = match manifest.dead {
        Some(number) => {
            // A merge since then may be done with some.
            known_dead(&read_dead(disk.as_ref(), manifest.store_id, number)?, manifest, false).into_owned()
        }
        None => RoaringBitmap::new(),
    };
    Ok(State {
        lsn: manifest.flushed_lsn,
        flushed_lsn: manifest.flushed_lsn,
        segments,
        indexes,
        dead: Arc::new(dead),
        live: manifest.live,
        fields: Arc::new(manifest.fields.clone()),
        ..State::default()
    })
}
