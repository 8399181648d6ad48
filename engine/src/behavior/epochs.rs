//! The epochs of a space, as they are in memory.

use std::sync::Arc;

use super::error::BehaviorError;
use super::manifest::{Epoch, Stage};

/// All epochs, and how far each is.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    /// In order of their numbers.
    pub(super) all: Vec<(Arc<Epoch>, Stage)>,
}

impl Epochs {
    /// The one that answers unless another is asked for.
    pub(super) fn serving(&self) -> &Arc<Epoch> {
        let serving = self.all.iter().find(|(_, stage)| *stage == Stage::Serving);
        // A manifest without one is refused.
        &serving.unwrap_or(&self.all[0]).0
    }

    /// One that answers.
    pub(super) fn answering(&self, number: u32) -> Result<&Arc<Epoch>, BehaviorError> {
        let answers = |stage: &Stage| matches!(stage, Stage::Serving | Stage::Kept);
        let found = self.all.iter().find(|(epoch, stage)| epoch.number == number && answers(stage));
        found.map(|(epoch, _)| epoch).ok_or_else(|| {
            let known = self.all.iter().filter(|(_, stage)| answers(stage));
            BehaviorError::UnknownEpoch {
                epoch: number,
                known: known.map(|(epoch, _)| epoch.number.to_string()).collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// One of any stage.
    pub(super) fn get(&self, number: u32) -> Option<&(Arc<Epoch>, Stage)> {
        self.all.iter().find(|(epoch, _)| epoch.number == number)
    }

    /// The one by whose planes signatures of its embeddings are stored.
    pub(super) fn signer(&self, of: u32) -> Option<&Arc<Epoch>> {
        self.get(of).map(|(epoch, _)| epoch)
    }

    /// Those that count what comes: the one that serves, and the one that is built.
    pub(super) fn counting(&self) -> impl Iterator<Item = &Arc<Epoch>> {
        let counts = |stage: &Stage| matches!(stage, Stage::Serving | Stage::Building { .. });
        self.all.iter().filter(move |(_, stage)| counts(stage)).map(|(epoch, _)| epoch)
    }

    /// Whether embeddings are those of one that items may be put into.
    pub(super) fn takes_items(&self, of: u32) -> bool {
        let takes = |stage: &Stage| !matches!(stage, Stage::Kept | Stage::Gone);
        self.all.iter().any(|(epoch, stage)| epoch.of == of && takes(stage))
    }
}
