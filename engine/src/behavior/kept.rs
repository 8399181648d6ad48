//! What is kept of what was read or worked out, within a bound.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by number, in two generations: when the young one has half of the bytes allowed, the old one goes and the young
/// one becomes old. Whatever is asked for becomes young again.
#[derive(Debug)]
pub(super) struct Kept<V> {
    generations: Mutex<Generations<V>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<u64, (V, usize)>,
    old: HashMap<u64, (V, usize)>,
    young_bytes: usize,
    old_bytes: usize,
}

impl<V: Clone> Kept<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { generations: Mutex::new(Generations { young, old, young_bytes: 0, old_bytes: 0 }), bytes_max }
    }

    pub(super) fn get(&self, key: u64) -> Option<V> {
        let mut all = self.lock();
        if let Some((value, _)) = all.young.get(&key) {
            return Some(value.clone());
        }
        let (value, bytes) = all.old.remove(&key)?;
        all.old_bytes -= bytes;
        self.put(&mut all, key, value.clone(), bytes);
        Some(value)
    }

    pub(super) fn insert(&self, key: u64, value: V, bytes: usize) {
        let mut all = self.lock();
        all.remove(key);
        self.put(&mut all, key, value, bytes);
    }

    /// Bytes kept now.
    pub(super) fn bytes(&self) -> usize {
        let all = self.lock();
        all.young_bytes + all.old_bytes
    }

    fn put(&self, all: &mut Generations<V>, key: u64, value: V, bytes: usize) {
        let half = self.bytes_max / 2;
        if bytes > half {
            return;
        }
        if all.young_bytes + bytes > half {
            all.old = std::mem::take(&mut all.young);
            all.old_bytes = std::mem::take(&mut all.young_bytes);
        }
        all.young.insert(key, (value, bytes));
        all.young_bytes += bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Generations<V> {
    fn remove(&mut self, key: u64) {
        if let Some((_, bytes)) = self.young.remove(&key) {
            self.young_bytes -= bytes;
        }
        if let Some((_, bytes)) = self.old.remove(&key) {
            self.old_bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_allowed_and_what_is_asked_for_stays() {
        let kept = Kept::new(1000);
        for key in 0..5_000u64 {
            kept.insert(key, key * 3, 1 + (key % 90) as usize);
            assert!(kept.bytes() <= 1000);
            assert_eq!(kept.get(key), Some(key * 3));
            assert_eq!(kept.get(0), Some(0));
        }
        assert_eq!(kept.get(7), None);
        kept.insert(4_999, 1, 10);
        assert_eq!(kept.get(4_999), Some(1));
        kept.insert(6_000, 1, 501);
        assert_eq!(kept.get(6_000), None);
    }
}
