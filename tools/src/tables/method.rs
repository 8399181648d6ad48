//! The methods that can be fitted, by name.

use clap::ValueEnum;
use nearline::embedding::{
    Adaptive, BitStack, Cyclic, Deduplicated, FitInput, FloatCodec, Hash, LowRankCodec, Masked, Mixed,
    ProductCodec, ResidualCodec, Robe, RobeRules, RowwiseCodec, Sparse, StepCodec, Table, TensorTrain,
    Tiered, UniformCodec,
};

/// How rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FitMethod {
    /// f32, or f16
    Float,
    /// 8, 4 or 2 bits a value with a scale a row, in the bytes of torch
    Rowwise,
    /// 16 or 8 bits a value with one scale
    Uniform,
    /// 16 or 8 bits a value with a step a row (ALPT)
    Step,
    /// Product quantisation
    Pq,
    /// Product quantisation with more centroids for frequent rows (MGQE)
    Mgqe,
    /// Residual quantisation
    Rq,
    /// Levels of signs (BitStack)
    BitStack,
    /// A few factors and a basis
    Svd,
    /// Fewer dimensions in fields of many rows (MDE); --fields
    Mde,
    /// Three cores (TT-Rec)
    Tt,
    /// Rows that are alike, once
    Dedup,
    /// Shared rows by remainder
    Hash,
    /// Chunks of one array by hash
    Robe,
    /// One array that rows turn around in (STABLE-RPS)
    Rps,
    /// Frequent rows as they are, the others shared (AdaptEmb)
    Adapt,
    /// The rows that matter most, the others zero
    Masked,
    /// The values that matter most, the others zero
    Sparse,
}

impl FitMethod {
    pub(super) fn fit(self, input: &FitInput<'_>, fields: &[u64]) -> nearline::Result<Box<dyn Table>> {
        let rules = RobeRules { chunk: input.dim().min(8), is_wrapping: false, is_signed: true };
        Ok(match self {
            Self::Float => Box::new(FloatCodec::fit(input)?),
            Self::Rowwise => Box::new(RowwiseCodec::fit(input)?),
            Self::Uniform => Box::new(UniformCodec::fit(input)?),
            Self::Step => Box::new(StepCodec::fit(input)?),
            Self::Pq => Box::new(ProductCodec::fit(input)?),
            Self::Mgqe => Box::new(Tiered::fit(input)?),
            Self::Rq => Box::new(ResidualCodec::fit(input)?),
            Self::BitStack => Box::new(BitStack::fit(input)?),
            Self::Svd => Box::new(LowRankCodec::fit(input)?),
            Self::Mde => Box::new(Mixed::fit(input, fields)?),
            Self::Tt => Box::new(TensorTrain::fit(input)?),
            Self::Dedup => Box::new(Deduplicated::fit(input, 1)?),
            Self::Hash => Box::new(Hash::fit(input)?),
            Self::Robe => Box::new(Robe::fit(input, rules)?),
            Self::Rps => Box::new(Cyclic::fit(input)?),
            Self::Adapt => Box::new(Adaptive::fit(input)?),
            Self::Masked => Box::new(Masked::fit(input)?),
            Self::Sparse => Box::new(Sparse::fit(input)?),
        })
    }
}
