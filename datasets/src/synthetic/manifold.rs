//! stub
use crate::{ElementType, Kind, Result, RowSource};
/// A family of vectors.
pub struct Generator {
    kind: Kind,
    dim: usize,
    element: ElementType,
    seed: u64,
}
impl Generator {
    /// stub
    pub fn new(kind: Kind, dim: usize, element: ElementType, seed: u64) -> Result<Generator> {
        Ok(Generator { kind, dim, element, seed })
    }
    /// stub
    pub fn queries(self) -> Generator {
        self
    }
}
impl RowSource for Generator {
    fn element(&self) -> ElementType {
        self.element
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn fill(&self, _first: u64, _out: &mut [u8]) {
        let _ = (self.kind, self.seed);
    }
}
