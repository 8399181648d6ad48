//! An index that changes: entries are added to its lists in RAM, and now and then it is written anew with them, lists that
//! became too long split, those that became too short dissolved (LIRE: Xu et al., "SPFresh", SOSP 2023, section 4).
//!
//! Such an index does not keep the vectors: its entries name rows, and whoever keeps those hands over their files.

mod delta;
mod entries;
mod fold;
mod measure;
mod place;
mod row_files;
mod truth;
mod widen;

use std::sync::Arc;

pub use delta::{Delta, Grown};
pub use fold::{FoldOptions, FoldReport, fold};
pub use measure::{Measured, measure, measure_questions};
pub use row_files::RowFiles;
pub use widen::Widen;

/// What a search of an index that changes goes by, beside the index.
#[derive(Debug, Clone)]
pub struct Live {
    /// Where the vectors are.
    pub rows: Arc<RowFiles>,
    /// What was added to the lists.
    pub delta: Arc<Delta>,
    /// By which factors more lists are looked at than were when the index was calibrated ([`measure`]).
    pub widen: Widen,
}
