//! What all handles on a simulated folder share: names, files, faults, the power switch.

use std::collections::BTreeMap;

use crate::disk::sim::image::Image;
use crate::disk::sim::random::Random;
use crate::disk::sim::{Fault, Faults};

/// A file, whatever its name.
pub(super) type FileNo = usize;

/// The folder.
#[derive(Debug)]
pub(super) struct State {
    pub(super) names: BTreeMap<String, FileNo>,
    durable_names: BTreeMap<String, FileNo>,
    /// Changes of names since the folder was synced, oldest first.
    name_ops: Vec<NameOp>,
    files: Vec<Option<Image>>,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) operations: u64,
    pub(super) power_off_at: Option<u64>,
    /// Counts crashes; handles of an earlier epoch are dead.
    pub(super) epoch: u64,
    pub(super) batches: Vec<usize>,
    pub(super) lock_holders: usize,
    pub(super) lock_exclusive: bool,
}

/// A change of names.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Create { name: String, file: FileNo },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl NameOp {
    /// By name: a rename that survives without the creation before it takes whatever carries the name.
    fn apply(&self, names: &mut BTreeMap<String, FileNo>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

/// What is to happen at an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Go,
    Faulty(Fault),
    /// The power goes off just now; the operation may still take effect.
    Dying {
        acts: bool,
    },
    /// The power is off.
    Off,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_ops: Vec::new(),
            files: Vec::new(),
            random: Random::new(seed),
            faults: Faults::default(),
            operations: 0,
            power_off_at: None,
            epoch: 0,
            batches: Vec::new(),
            lock_holders: 0,
            lock_exclusive: false,
        }
    }

    /// Counts an operation and decides what happens at it.
    pub(super) fn step(&mut self) -> Step {
        self.operations += 1;
        let now = self.operations;
        match self.power_off_at {
            Some(off) if now > off => return Step::Off,
            Some(off) if now == off => return Step::Dying { acts: self.random.coin() },
            _ => {}
        }
        if let Some(&(_, fault)) = self.faults.at.iter().find(|(at, _)| *at == now) {
            return Step::Faulty(fault);
        }
        let per_million = self.faults.per_million as usize;
        if per_million > 0 && self.random.below(1_000_000) < per_million {
            return Step::Faulty(Fault::Io);
        }
        Step::Go
    }

    pub(super) fn create(&mut self, name: &str) -> FileNo {
        let file = self.files.len();
        self.files.push(Some(Image::default()));
        self.name_op(NameOp::Create { name: name.to_owned(), file });
        file
    }

    pub(super) fn name_op(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.name_ops.push(op);
    }

    pub(super) fn sync_names(&mut self) {
        self.name_ops.clear();
        self.durable_names.clone_from(&self.names);
    }

    pub(super) fn image(&self, file: FileNo) -> Option<&Image> {
        self.files.get(file)?.as_ref()
    }

    pub(super) fn image_mut(&mut self, file: FileNo) -> Option<&mut Image> {
        self.files.get_mut(file)?.as_mut()
    }

    pub(super) fn flip_bit(&mut self, file: FileNo, bit: u64) {
        if let Some(image) = self.image_mut(file) {
            image.flip_bit(bit);
        }
    }

    /// How many bytes may still be added; counts files that have a name.
    pub(super) fn space_left(&self) -> usize {
        let Some(space) = self.faults.space else { return usize::MAX };
        let used: usize =
            self.names.values().filter_map(|&file| self.image(file)).map(|i| i.bytes().len()).sum();
        (space as usize).saturating_sub(used)
    }

    /// Power off and on again.
    pub(super) fn crash(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let mut names = std::mem::take(&mut self.durable_names);
        let prefix = random.coin();
        let first_lost = random.below(self.name_ops.len() + 1);
        for (i, op) in self.name_ops.drain(..).enumerate() {
            let kept = if prefix { i < first_lost } else { random.coin() };
            if kept {
                op.apply(&mut names);
            }
        }
        // Every file draws its luck, reachable or not, so that one more name changes nothing for the others.
        for (file, image) in self.files.iter_mut().enumerate() {
            let crashed = image.take().map(|image| image.crashed(&mut random));
            *image = crashed.filter(|_| names.values().any(|&named| named == file));
        }
        self.durable_names.clone_from(&names);
        self.names = names;
        self.power_off_at = None;
        self.epoch += 1;
        self.lock_holders = 0;
        self.lock_exclusive = false;
    }
}
