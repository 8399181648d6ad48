//! What reading takes: a schema and a moment. A collection reads the newest moment, a version the one that was kept.

use super::Inner;
use crate::schema::Schema;
use crate::state::State;

/// Reads the points of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) schema: &'a Schema,
    pub(super) state: &'a State,
}

impl Inner {
    pub(super) fn reader<'a>(&'a self, state: &'a State) -> Reader<'a> {
        Reader { schema: &self.schema, state }
    }
}
