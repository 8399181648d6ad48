//! The memory that the tables of a database have for their rows, together.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that no table has.
#[derive(Debug)]
pub(crate) struct TableMemory {
    free: Mutex<u64>,
}

/// Bytes that a table has, until it is closed.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<TableMemory>,
    pub(crate) bytes: u64,
}

impl TableMemory {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(bytes) })
    }

    /// As many bytes as are wanted, but at most three quarters of what is free, so that something is left for tables that are
    /// opened later.
    pub(crate) fn take(self: &Arc<Self>, wanted: u64) -> Share {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = wanted.min(*free - *free / 4);
        *free -= bytes;
        Share { memory: Arc::clone(self), bytes }
    }
}

impl Share {
    /// Takes more, up to so many bytes, as far as there is any: of what is in memory whole anyway.
    pub(crate) fn cover(&mut self, bytes: u64) {
        let mut free = self.memory.free.lock().unwrap_or_else(PoisonError::into_inner);
        let more = bytes.saturating_sub(self.bytes).min(*free);
        *free -= more;
        self.bytes += more;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.memory.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_more_than_there_is_and_give_it_back() {
        let memory = TableMemory::new(1000);
        let (small, large) = (memory.take(100), memory.take(u64::MAX));
        assert_eq!((small.bytes, large.bytes), (100, 675));
        let many: Vec<Share> = (0..100).map(|_| memory.take(1 << 40)).collect();
        assert_eq!(many[0].bytes, 169);
        assert!(many.iter().map(|share| share.bytes).sum::<u64>() <= 225);
        drop((many, large));
        assert_eq!(memory.take(u64::MAX).bytes, 675);
        drop(small);
        let mut whole = memory.take(u64::MAX);
        assert_eq!(whole.bytes, 750);
        whole.cover(700);
        assert_eq!((whole.bytes, memory.take(u64::MAX).bytes), (750, 188));
        whole.cover(5000);
        assert_eq!((whole.bytes, memory.take(u64::MAX).bytes), (1000, 0));
        drop(whole);
        assert_eq!(memory.take(100).bytes, 100);
    }
}
