//! A space that was opened or made, and how to unmake it.

use nearline::{BehaviorSpace, Database};

use crate::place::{self, Place};

/// An open space, and what of it is new.
pub(super) struct Made {
    pub(super) space: BehaviorSpace,
    pub(super) database: Database,
    pub(super) name: String,
    /// Whether the space was made, and not only opened.
    pub(super) is_new: bool,
    pub(super) place: Place,
}

impl Made {
    /// Takes back what was made: a command that failed leaves nothing that stands in the way of the next attempt.
    pub(super) fn undo(self) {
        drop(self.space);
        if self.is_new {
            let _ = self.database.drop_behavior_space(&self.name); // there is another error to be told
        }
        place::close_and_clear(self.database, self.place);
    }
}
