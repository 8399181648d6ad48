//! A cache of bytes that were read from immutable files and passed their checks, bounded in bytes.
//!
//! The cache is split into shards, each with a lock and an equal share of the capacity. A shard throws out by second
//! chance (CLOCK): the oldest entry goes, unless it was asked for since the hand last passed. Entries come in
//! unmarked, so what is read once does not drive out what is read often.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::PAGE;

/// Shards of a cache; each takes one thread at a time, for well under a microsecond.
const SHARDS: usize = 16;
/// What an entry costs beside its bytes: its places in map and queue, and the counts before the bytes.
const ENTRY_BYTES: usize = 128;

/// Bytes by file id and offset, shared by many threads.
///
/// It never holds more than its capacity. Bytes that do not fit into one shard's share, a sixteenth of the capacity,
/// are not kept.
pub struct BlockCache {
    shards: Vec<Mutex<Shard>>,
}

/// Whose bytes: the file's id and the offset in it.
type Key = (u64, u64);

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    /// All keys, in the order in which the hand comes to them.
    queue: VecDeque<Key>,
    capacity: usize,
    bytes: usize,
    hits: u64,
    misses: u64,
}

struct Entry {
    bytes: Arc<[u8]>,
    asked_for: bool,
}

/// What a cache holds, and how often it could help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Lookups that were answered.
    pub hits: u64,
    /// Lookups that were not.
    pub misses: u64,
    /// Entries held now.
    pub entries: usize,
    /// Bytes held now, with what the entries cost beside their own.
    pub bytes: usize,
}

impl BlockCache {
    /// An empty cache of `capacity` bytes; with 0 it keeps nothing.
    pub fn new(capacity: usize) -> Self {
        Self::with_shards(capacity, SHARDS)
    }

    fn with_shards(capacity: usize, shards: usize) -> Self {
        let cache = Self { shards: (0..shards).map(|_| Mutex::default()).collect() };
        cache.set_capacity(capacity);
        cache
    }

    /// The bytes at `offset` of the file `file_id`, if they are held.
    pub fn get(&self, file_id: u64, offset: u64) -> Option<Arc<[u8]>> {
        let key = (file_id, offset);
        self.shard(key).get(key)
    }

    /// Keeps bytes, throwing out others for them. What is held for this place already stays.
    ///
    /// Bytes at a place must never change: give every file an id of its own.
    pub fn insert(&self, file_id: u64, offset: u64, bytes: Arc<[u8]>) {
        let key = (file_id, offset);
        // What was thrown out is freed after the lock.
        let _gone = self.shard(key).insert(key, bytes);
    }

    /// Forgets all bytes of a file. Takes time in proportion to all entries.
    pub fn remove_file(&self, file_id: u64) {
        for shard in &self.shards {
            lock(shard).remove_file(file_id);
        }
    }

    /// Changes the capacity, in bytes, throwing out what is too much.
    pub fn set_capacity(&self, capacity: usize) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.capacity = capacity / self.shards.len();
            let _gone = shard.make_room(0);
        }
    }

    /// Totals over all shards, each shard at a slightly different moment.
    pub fn counters(&self) -> CacheCounters {
        let mut sum = CacheCounters::default();
        for shard in &self.shards {
            let shard = lock(shard);
            sum.hits += shard.hits;
            sum.misses += shard.misses;
            sum.entries += shard.entries.len();
            sum.bytes += shard.bytes;
        }
        sum
    }

    fn shard(&self, (file_id, offset): Key) -> MutexGuard<'_, Shard> {
        let page = offset / PAGE as u64;
        let mixed = (file_id ^ page.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        lock(&self.shards[(mixed >> 32) as usize % self.shards.len()])
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({:?})", self.counters())
    }
}

/// No shard is left half changed by a panic, so a poisoned lock is as good as any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn get(&mut self, key: Key) -> Option<Arc<[u8]>> {
        let Some(entry) = self.entries.get_mut(&key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        entry.asked_for = true;
        Some(Arc::clone(&entry.bytes))
    }

    /// Returns what was thrown out.
    fn insert(&mut self, key: Key, bytes: Arc<[u8]>) -> Vec<Entry> {
        let cost = bytes.len() + ENTRY_BYTES;
        if cost > self.capacity || self.entries.contains_key(&key) {
            return Vec::new();
        }
        let gone = self.make_room(cost);
        self.bytes += cost;
        self.queue.push_back(key);
        self.entries.insert(key, Entry { bytes, asked_for: false });
        gone
    }

    /// Moves the hand until `cost` more bytes fit.
    fn make_room(&mut self, cost: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.bytes + cost > self.capacity {
            let Some(key) = self.queue.pop_front() else { break };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.asked_for => {
                    entry.asked_for = false;
                    self.queue.push_back(key);
                }
                _ => gone.extend(self.entries.remove(&key).inspect(|entry| {
                    self.bytes -= entry.bytes.len() + ENTRY_BYTES;
                })),
            }
        }
        gone
    }

    fn remove_file(&mut self, file_id: u64) {
        self.queue.retain(|key| key.0 != file_id);
        self.entries.retain(|key, _| key.0 != file_id);
        self.bytes = self.entries.values().map(|entry| entry.bytes.len() + ENTRY_BYTES).sum();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin of a shard: a list in the order of the hand.
    #[derive(Default)]
    struct Twin {
        list: Vec<(Key, usize, bool)>,
        capacity: usize,
        hits: u64,
        misses: u64,
    }

    impl Twin {
        fn bytes(&self) -> usize {
            self.list.iter().map(|(_, len, _)| len + ENTRY_BYTES).sum()
        }

        fn get(&mut self, key: Key) -> Option<usize> {
            let found = self.list.iter_mut().find(|entry| entry.0 == key);
            *if found.is_some() { &mut self.hits } else { &mut self.misses } += 1;
            found.map(|entry| {
                entry.2 = true;
                entry.1
            })
        }

        fn insert(&mut self, key: Key, len: usize) {
            let fits = len + ENTRY_BYTES <= self.capacity;
            if fits && !self.list.iter().any(|entry| entry.0 == key) {
                self.shrink(self.capacity - len - ENTRY_BYTES);
                self.list.push((key, len, false));
            }
        }

        fn shrink(&mut self, to: usize) {
            while self.bytes() > to {
                let (key, len, asked_for) = self.list.remove(0);
                if asked_for {
                    self.list.push((key, len, false));
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(Key),
        Insert(Key),
        RemoveFile(u64),
        SetCapacity(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || (0..3_u64, (0..40_u64).prop_map(|page| page * 4096));
        let step = prop_oneof![
            30 => key().prop_map(Step::Get),
            30 => key().prop_map(Step::Insert),
            1 => (0..3_u64).prop_map(Step::RemoveFile),
            2 => (0..40_000_usize).prop_map(Step::SetCapacity),
        ];
        proptest::collection::vec(step, 0..300)
    }

    /// The length of what lies at a place; it never changes.
    fn len_of((file_id, offset): Key) -> usize {
        (offset / 4096 * 97 + file_id * 1000) as usize % 3000
    }

    fn bytes_of(key: Key) -> Arc<[u8]> {
        vec![key.1 as u8 ^ key.0 as u8; len_of(key)].into()
    }

    proptest! {
        #[test]
        fn a_shard_agrees_with_its_twin(steps in steps()) {
            let cache = BlockCache::with_shards(20_000, 1);
            let mut twin = Twin { capacity: 20_000, ..Twin::default() };
            for step in steps {
                match step {
                    Step::Get(key) => {
                        let found = cache.get(key.0, key.1).map(|bytes| bytes.len());
                        prop_assert_eq!(found, twin.get(key));
                    }
                    Step::Insert(key) => {
                        cache.insert(key.0, key.1, bytes_of(key));
                        twin.insert(key, len_of(key));
                    }
                    Step::RemoveFile(file_id) => {
                        cache.remove_file(file_id);
                        twin.list.retain(|entry| entry.0.0 != file_id);
                    }
                    Step::SetCapacity(capacity) => {
                        cache.set_capacity(capacity);
                        twin.capacity = capacity;
                        twin.shrink(capacity);
                    }
                }
                let (hits, misses, entries) = (twin.hits, twin.misses, twin.list.len());
                let expected = CacheCounters { hits, misses, entries, bytes: twin.bytes() };
                prop_assert_eq!(cache.counters(), expected);
                prop_assert!(expected.bytes <= twin.capacity);
            }
        }
    }

    #[test]
    fn what_is_read_often_outlives_a_scan() {
        let cache = BlockCache::with_shards(100 * (1000 + ENTRY_BYTES), 1);
        let insert = |page: u64| cache.insert(1, page * 4096, vec![0; 1000].into());
        (0..50).for_each(insert);
        for page in 50..1000 {
            insert(page);
            assert!((0..50).all(|hot| cache.get(1, hot * 4096).is_some()), "at page {page}");
        }
        assert_eq!(cache.counters().entries, 100);
    }

    #[test]
    fn many_threads_share_a_cache_within_its_capacity() {
        let (cache, threads, rounds) = (BlockCache::new(400_000), 8_u64, 5_000_u64);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let cache = &cache;
                scope.spawn(move || {
                    let mut seed = thread;
                    for round in 0..rounds {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(thread * 2 + 1);
                        let key = ((seed >> 33) % 3, (seed >> 40) % 400 * 4096);
                        match cache.get(key.0, key.1) {
                            Some(bytes) => assert!(*bytes == *bytes_of(key), "{key:?}"),
                            None => cache.insert(key.0, key.1, bytes_of(key)),
                        }
                        if round % 1000 == 999 {
                            cache.remove_file(seed >> 62);
                            cache.set_capacity(if thread % 2 == 0 { 300_000 } else { 400_000 });
                        }
                        if round % 64 == 0 {
                            assert!(cache.counters().bytes <= 400_000);
                        }
                    }
                });
            }
        });
        let counters = cache.counters();
        assert_eq!(counters.hits + counters.misses, threads * rounds);
        assert!(counters.hits > 0 && counters.entries > 0);
        cache.set_capacity(0);
        assert_eq!((cache.counters().entries, cache.counters().bytes), (0, 0));
    }
}
