//! Page-aligned memory for direct reads, and a pool that reuses it.
#![expect(
    unsafe_code,
    reason = "memory aligned to pages is allocated by hand; every other module uses it safely"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::disk::{PAGE, Window, page_up};

/// Asks the system for huge pages behind the memory that an empty vector has reserved: memory that is read here and there
/// then needs fewer looks at page tables. Best effort, and only where such pages are to be had.
pub fn prefer_huge_pages(memory: &mut Vec<u8>) {
    const HUGE_PAGE: usize = 2 << 20;
    let spare = memory.spare_capacity_mut();
    let start = spare.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(HUGE_PAGE);
    let bytes = spare.len().saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
    if bytes > 0 {
        // SAFETY: the range lies inside memory that the vector owns, and the advice changes no byte of it.
        let _ = unsafe {
            rustix::mm::madvise(start.wrapping_add(skip).cast(), bytes, rustix::mm::Advice::LinuxHugepage)
        };
    }
}

/// Bytes that start at a page boundary; zeros at first.
pub struct AlignedBuf {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the buffer owns its memory alone, as a `Box<[u8]>` does.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared reference only gives shared access to plain bytes.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `bytes`, rounded up to whole pages, at least one.
    pub fn new(bytes: usize) -> Self {
        let bytes = page_up(bytes.max(1));
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, bytes }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, PAGE).expect("a buffer is smaller than the address space")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: `start` came from `alloc_zeroed` with the layout of these `bytes`.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `bytes` initialised bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.bytes)
    }
}

/// Buffers for the reads of one [`Window`], allocated when first needed and reused afterwards.
///
/// Sizes are rounded up to classes, at most a quarter above what was asked for, so that lists of similar length
/// share buffers. The pool never holds more than the larger of `window.bytes` and the class of the one largest
/// read: when a class has no free buffer and the budget is used up, free buffers of other classes are
/// given back to the system first.
#[derive(Debug)]
pub struct BufferPool {
    window: Window,
    taken: usize,
    taken_bytes: usize,
    free: BTreeMap<usize, Vec<AlignedBuf>>,
    free_bytes: usize,
}

impl BufferPool {
    /// An empty pool.
    pub fn new(window: Window) -> Self {
        Self { window, taken: 0, taken_bytes: 0, free: BTreeMap::new(), free_bytes: 0 }
    }

    /// Whether a buffer for `bytes` fits into the window beside those that are taken. The first always does.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.has_room_beside(bytes, None)
    }

    /// As [`BufferPool::has_room`], once the buffer `leaving` will have been given back.
    pub(crate) fn has_room_beside(&self, bytes: usize, leaving: Option<&[u8]>) -> bool {
        let (gone, gone_bytes) = leaving.map_or((0, 0), |buffer| (1, buffer.len()));
        let (taken, taken_bytes) = (self.taken - gone, self.taken_bytes - gone_bytes);
        taken == 0
            || (taken < self.window.reads && taken_bytes.saturating_add(class(bytes)) <= self.window.bytes)
    }

    /// Takes a buffer of at least `bytes`. The caller has asked [`BufferPool::has_room`].
    pub fn take(&mut self, bytes: usize) -> AlignedBuf {
        let class = class(bytes);
        self.taken += 1;
        self.taken_bytes += class;
        if let Some(buffer) = self.pop_free(class) {
            return buffer;
        }
        while self.free_bytes > 0 && self.taken_bytes + self.free_bytes > self.window.bytes {
            let Some((&largest, _)) = self.free.last_key_value() else { break };
            drop(self.pop_free(largest));
        }
        AlignedBuf::new(class)
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: AlignedBuf) {
        self.taken -= 1;
        self.taken_bytes -= buffer.len();
        self.free_bytes += buffer.len();
        self.free.entry(buffer.len()).or_default().push(buffer);
    }

    /// Forgets a buffer that was taken and will never come back.
    pub fn write_off(&mut self, bytes: usize) {
        self.taken -= 1;
        self.taken_bytes -= class(bytes);
    }

    /// All memory the pool answers for, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.taken_bytes + self.free_bytes
    }

    fn pop_free(&mut self, class: usize) -> Option<AlignedBuf> {
        let list = self.free.get_mut(&class)?;
        let buffer = list.pop();
        if list.is_empty() {
            self.free.remove(&class);
        }
        self.free_bytes -= buffer.as_ref().map_or(0, |buffer| buffer.len());
        buffer
    }
}

/// Rounds up to a size class: whole pages, four classes to each doubling.
fn class(bytes: usize) -> usize {
    let pages = bytes.div_ceil(PAGE).max(1);
    let step = (pages.next_power_of_two() / 8).max(1);
    pages.div_ceil(step) * step * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_page() {
        // Miri goes through every byte by itself.
        for bytes in [0, 1, 4096, 4097, if cfg!(miri) { 8192 } else { 1 << 20 }] {
            let mut buffer = AlignedBuf::new(bytes);
            assert_eq!(buffer.as_ptr().addr() % PAGE, 0);
            assert_eq!(buffer.len(), page_up(bytes.max(1)));
            assert!(buffer.iter().all(|&byte| byte == 0));
            buffer.fill(7);
        }
    }

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for pages in 1..if cfg!(miri) { 200 } else { 5_000 } {
            let bytes = pages * PAGE;
            let class = class(bytes);
            assert!(class >= bytes && class * 4 <= bytes * 5, "{pages} pages get {class} bytes");
            assert_eq!(self::class(class), class);
        }
    }

    #[test]
    fn memory_stays_within_the_window_whatever_the_mix_of_sizes() {
        let window = Window { reads: 16, bytes: 256 * PAGE };
        let mut pool = BufferPool::new(window);
        let (mut held, mut seed) = (Vec::new(), 1_u64);
        for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bytes = (1 + (seed >> 33) as usize % 60) * PAGE;
            if pool.has_room(bytes) && seed >> 63 == 0 {
                held.push(pool.take(bytes));
                assert!(held.last().is_some_and(|buffer| buffer.len() >= bytes));
            } else if let Some(buffer) = held.pop() {
                pool.give(buffer);
            }
            assert!(pool.held_bytes() <= window.bytes && held.len() <= window.reads);
        }
    }

    #[test]
    fn one_read_larger_than_the_window_is_allowed_alone() {
        let mut pool = BufferPool::new(Window { reads: 4, bytes: PAGE });
        assert!(pool.has_room(10 * PAGE));
        let buffer = pool.take(10 * PAGE);
        assert!(!pool.has_room(PAGE));
        pool.give(buffer);
        let small = pool.take(PAGE);
        assert_eq!(pool.held_bytes(), PAGE, "the large one was given back to the system");
        pool.give(small);
    }
}
