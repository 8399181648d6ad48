//! Tables from what they were stored as.

use std::sync::Arc;

use crate::error::{IndexError, Result};
use crate::vector::DIM_MAX;

use super::cyclic::CyclicLayout;
use super::masked::MaskedLayout;
use super::mixed::MixedLayout;
use super::robe::RobeLayout;
use super::sparse::SparseLayout;
use super::tiered::TieredLayout;
use super::*;

/// A table of a method, rows, dimensions, parameters and segments as a [`Table`] tells them.
///
/// # Errors
/// When they are not those of a table: every length, every place and every number is checked.
pub fn open(
    method: Method,
    rows: u64,
    dim: usize,
    params: &[u64],
    segments: Segments<'_>,
) -> Result<Box<dyn Table>> {
    check_shape(rows, dim)?;
    let count = rows as usize;
    fn boxed<T: Table + 'static>(table: Option<T>) -> Option<Box<dyn Table>> {
        Some(Box::new(table?))
    }
    if method.is_trainable() {
        return Ok(open_trainable(method, rows, dim, params, segments)?);
    }
    let table = match method {
        Method::Sparse => boxed(Sparse::open(count, dim, params, segments)?),
        Method::Tiered => boxed(Tiered::open(count, dim, params, segments)?),
        Method::Dynamic => boxed(Dynamic::open(dim, params, segments)?),
        Method::BitStack => boxed(BitStack::open(count, dim, params, segments)?),
        _ => {
            let codec = open_codec(method, dim, params, segments)?;
            let bytes = segments.bytes("rows", count.saturating_mul(codec.row_bytes()))?;
            boxed(Some(Rows::from_bytes(codec, bytes)?))
        }
    };
    table.ok_or_else(|| not_a_table(method, params))
}

/// The same, to be trained.
///
/// # Errors
/// As [`open`], and when tables of the method are not trained as they are stored.
pub fn open_trainable(
    method: Method,
    rows: u64,
    dim: usize,
    params: &[u64],
    segments: Segments<'_>,
) -> Result<Box<dyn Train>> {
    check_shape(rows, dim)?;
    let count = rows as usize;
    fn boxed<T: Train + 'static>(table: Option<T>) -> Option<Box<dyn Train>> {
        Some(Box::new(table?))
    }
    let table = match method {
        Method::Hash => boxed(Hash::open(rows, dim, params, segments)?),
        Method::Compositional => boxed(Compositional::open(rows, dim, params, segments)?),
        Method::Robe => boxed(Robe::open(rows, dim, params, segments)?),
        Method::Cyclic => boxed(Cyclic::open(rows, dim, params, segments)?),
        Method::Adaptive => boxed(Adaptive::open(count, dim, params, segments)?),
        Method::Deduplicated => boxed(Deduplicated::open(rows, dim, params, segments)?),
        Method::TensorTrain => boxed(TensorTrain::open(rows, dim, params, segments)?),
        Method::DeepHash => boxed(DeepHash::open(rows, dim, params, segments)?),
        Method::Mixed => boxed(Mixed::open(rows, dim, params, segments)?),
        Method::Masked => boxed(Masked::open(count, dim, params, segments)?),
        _ => None,
    };
    table.ok_or_else(|| not_a_table(method, params))
}

/// The same of one whose ids come and go ([`Method::Dynamic`]), to be written to.
///
/// # Errors
/// As [`open`].
pub fn open_dynamic(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Dynamic> {
    check_shape(0, dim)?;
    Dynamic::open(dim, params, segments)?.ok_or_else(|| not_a_table(Method::Dynamic, params))
}

/// The codec of a table whose rows are kept elsewhere.
///
/// # Errors
/// When the method has none, or the parameters are not its.
pub fn open_codec(
    method: Method,
    dim: usize,
    params: &[u64],
    segments: Segments<'_>,
) -> Result<Arc<dyn RowCodec>> {
    check_shape(0, dim)?;
    fn boxed<C: RowCodec + 'static>(codec: Option<C>) -> Option<Arc<dyn RowCodec>> {
        Some(Arc::new(codec?))
    }
    let codec = match method {
        Method::Float => boxed(FloatCodec::open(dim, params)),
        Method::Rowwise => boxed(RowwiseCodec::open(dim, params)),
        Method::Uniform => boxed(UniformCodec::open(dim, params)),
        Method::Step => boxed(StepCodec::open(dim, params)),
        Method::Product => boxed(ProductCodec::open(dim, params, segments)?),
        Method::Residual => boxed(ResidualCodec::open(dim, params, segments)?),
        Method::LowRank => boxed(LowRankCodec::open(dim, params, segments)?),
        _ => None,
    };
    codec.ok_or_else(|| not_a_table(method, params))
}

/// The layout of a table whose values, of so many in all, are kept elsewhere: the table but for the segments that
/// [`is_values`] names, which need not be there.
///
/// # Errors
/// When rows of the method are no runs of values, parameters and segments are not its, or a run would lead to where there are
/// no values.
pub fn open_runs(
    method: Method,
    rows: u64,
    dim: usize,
    params: &[u64],
    segments: Segments<'_>,
    values: u64,
) -> Result<Arc<dyn Runs>> {
    check_shape(rows, dim)?;
    let count = rows as usize;
    fn boxed<L: Runs + 'static>(layout: Option<L>) -> Option<Arc<dyn Runs>> {
        Some(Arc::new(layout?))
    }
    let layout = match method {
        Method::Robe => boxed(RobeLayout::open(rows, dim, params, values)),
        Method::Cyclic => boxed(CyclicLayout::open(rows, dim, params, values)),
        Method::Mixed => boxed(MixedLayout::open(rows, dim, params, segments)?),
        Method::Masked => boxed(MaskedLayout::open(count, dim, params, segments, values)?),
        Method::Sparse => boxed(SparseLayout::open(count, dim, params, segments, values)?),
        Method::Tiered => boxed(TieredLayout::open(count, dim, params, segments)?),
        _ => None,
    };
    let layout = layout.ok_or_else(|| not_a_table(method, params))?;
    let expected: u64 = layout.parts().iter().map(|part| part.values).sum();
    if expected != values {
        return Err(IndexError::input("values of rows", values.to_string(), expected.to_string()));
    }
    Ok(layout)
}

fn check_shape(rows: u64, dim: usize) -> Result<()> {
    if !(1..=DIM_MAX).contains(&dim) {
        return Err(IndexError::option("dimensions", dim, format!("1 to {DIM_MAX}")));
    }
    match usize::try_from(rows) {
        Ok(_) => Ok(()),
        Err(_) => Err(IndexError::option("rows", rows, "as many as memory can have")),
    }
}

fn not_a_table(method: Method, params: &[u64]) -> IndexError {
    IndexError::input("a table", format!("{method:?} with parameters {params:?}"), "those of such a table")
}
