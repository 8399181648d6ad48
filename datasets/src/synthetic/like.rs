//! stub
use crate::{ElementType, Result, RowSource, VectorFile};
/// Vectors like a real set.
pub struct LikeGenerator {
    dim: usize,
    element: ElementType,
}
impl LikeGenerator {
    /// stub
    pub fn new(
        anchors: &VectorFile,
        _seed: u64,
        _sigma: f64,
        _threads: usize,
        _progress: &dyn Fn(u64, u64),
    ) -> Result<LikeGenerator> {
        Ok(LikeGenerator { dim: anchors.dim(), element: anchors.element() })
    }
}
impl RowSource for LikeGenerator {
    fn element(&self) -> ElementType {
        self.element
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn fill(&self, _first: u64, _out: &mut [u8]) {}
}
