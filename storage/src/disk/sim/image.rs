//! The bytes of one simulated file: as reads see them, as they are on the platter, and what lies between.

use crate::disk::sim::random::Random;

const SECTOR: usize = 512;

/// A file's content.
#[derive(Debug, Default)]
pub(super) struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since `durable`, oldest first.
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    what: What,
    /// The file's length after it.
    len: usize,
    fate: Fate,
}

#[derive(Debug)]
enum What {
    Write { offset: usize, bytes: Vec<u8> },
    Resize,
}

/// What a crash does to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Left to chance; the next sync saves it.
    Dirty,
    /// Left to chance for good: a sync has failed over it and no other will try.
    Lost,
    /// Saved by a sync, though an older lost change keeps it from being folded in.
    Synced,
}

impl Image {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.live, offset, bytes);
        self.note(What::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn resize(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.note(What::Resize);
    }

    fn note(&mut self, what: What) {
        self.changes.push(Change { what, len: self.live.len(), fate: Fate::Dirty });
    }

    /// Saves all changes that are dirty.
    pub(super) fn sync(&mut self) {
        for change in self.changes.iter_mut().filter(|change| change.fate == Fate::Dirty) {
            change.fate = Fate::Synced;
        }
        let folded = self.changes.iter().take_while(|change| change.fate == Fate::Synced).count();
        for change in self.changes.drain(..folded) {
            change.apply(&mut self.durable);
        }
    }

    /// Fails to save them, and forgets that they are dirty.
    pub(super) fn lose(&mut self) {
        for change in self.changes.iter_mut().filter(|change| change.fate == Fate::Dirty) {
            change.fate = Fate::Lost;
        }
    }

    /// Flips a bit on the platter and in memory.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        for bytes in [&mut self.live, &mut self.durable] {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The file after a power cut.
    pub(super) fn crashed(self, random: &mut Random) -> Self {
        let mut bytes = self.durable;
        let mut lens = vec![bytes.len()];
        for change in &self.changes {
            if change.fate == Fate::Synced {
                lens.clear();
            }
            lens.push(change.len);
            change.survive(&mut bytes, random);
        }
        let len = lens[random.below(lens.len())];
        bytes.resize(len, 0);
        Self { live: bytes.clone(), durable: bytes, changes: Vec::new() }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match &self.what {
            What::Write { offset, bytes: new } => put(bytes, *offset, new),
            What::Resize => bytes.resize(self.len, 0),
        }
    }

    fn survive(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let chance = random.below(100);
        match &self.what {
            _ if self.fate == Fate::Synced || chance < 40 => self.apply(bytes),
            What::Write { offset, bytes: new } if chance < 70 => tear(bytes, *offset, new, random),
            What::Write { .. } | What::Resize => {}
        }
    }
}

/// Applies a write sector by sector: kept, dropped or garbage. Sectors are those of the disk, so the first and last
/// may be partial.
fn tear(bytes: &mut Vec<u8>, offset: usize, new: &[u8], random: &mut Random) {
    let mut at = offset;
    let end = offset + new.len();
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        match random.below(3) {
            0 => put(bytes, at, &new[at - offset..next - offset]),
            1 => {
                let garbage: Vec<u8> = (at..next).map(|_| random.next() as u8).collect();
                put(bytes, at, &garbage);
            }
            _ => {}
        }
        at = next;
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All images that crashes leave of a file, over many seeds.
    fn outcomes(make: impl Fn() -> Image) -> Vec<Vec<u8>> {
        let crashed = |seed| make().crashed(&mut Random::new(seed)).live;
        let mut all: Vec<Vec<u8>> = (0..500).map(crashed).collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn synced_bytes_survive_and_others_may_not() {
        let make = || {
            let mut image = Image::default();
            image.write(0, &[1; 600]);
            image.sync();
            image.write(0, &[2; 600]);
            image
        };
        let all = outcomes(make);
        assert!(all.iter().all(|bytes| bytes.len() == 600));
        assert!(all.contains(&vec![1; 600]) && all.contains(&vec![2; 600]));
        let torn = [vec![2; 512], vec![1; 88]].concat();
        assert!(all.contains(&torn) && all.len() > 5, "{} outcomes", all.len());
    }

    #[test]
    fn lengths_survive_apart_from_bytes() {
        let make = || {
            let mut image = Image::default();
            image.write(0, &[1; 10]);
            image.sync();
            image.write(10, &[2; 10]);
            image
        };
        let all = outcomes(make);
        let zeros = [vec![1; 10], vec![0; 10]].concat();
        assert!(all.contains(&vec![1; 10]) && all.contains(&zeros));
    }

    #[test]
    fn after_a_failed_sync_no_later_one_helps() {
        let make = || {
            let mut image = Image::default();
            image.write(0, &[1; 512]);
            image.lose();
            image.write(512, &[2; 512]);
            image.sync();
            assert_eq!(image.bytes(), [[1; 512], [2; 512]].concat(), "reads still show it");
            image
        };
        let all = outcomes(make);
        assert!(all.iter().all(|bytes| bytes.len() == 1024 && bytes[512..] == [2; 512]));
        assert!(all.iter().any(|bytes| bytes[..512] == [0; 512]));
    }
}
