//! A query made ready for coded lists, and the estimates.

use super::{BLOCK, CodeShape, CodedList, EPSILON};
use crate::kernel::{Kernel, SignTerms};

/// Dimensions that one lookup serves, and the patterns of their signs.
const GROUP: usize = 4;
const PATTERNS: usize = 1 << GROUP;

/// A query made ready, once for all lists. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct CodedQuery {
    values: Vec<f32>,
    /// Σ q.
    sum: f32,
    /// The signs of a code without any.
    no_signs: Vec<u8>,
    /// What makes Σ u·q the product with the centred code: -(2^B - 1)/2 Σ q.
    centring: f32,
    /// For each four dimensions and each pattern of signs `s`, in ±½: the number of steps in ⟨s, q⟩.
    table: Vec<u8>,
    /// ⟨s, q⟩ = `step` * sum of the table's bytes + `bias`.
    step: f32,
    bias: f32,
    /// How far off that may be, for [`EPSILON`].
    error: f32,
}

/// Estimates of the squared distances of one block's entries, and what they are hardly below.
#[derive(Debug, Clone, Default)]
pub(crate) struct SignEstimates {
    pub(crate) estimate: [f32; BLOCK],
    /// `-∞` where nothing is known.
    pub(crate) lower: [f32; BLOCK],
}

impl CodedQuery {
    /// Makes a query of `shape.dim` values ready.
    pub(crate) fn set(&mut self, shape: CodeShape, query: &[f32]) {
        shape.check();
        assert_eq!(query.len(), shape.dim);
        self.values.clear();
        self.values.extend_from_slice(query);
        let sum = sum(query, |q| q);
        (self.sum, self.centring) = (sum as f32, (-f64::from(shape.middle()) * sum) as f32);
        self.no_signs.resize(shape.sign_bytes(), 0);
        self.set_table();
    }

    /// The table holds ⟨s, q⟩ of a group less its smallest value, in steps of 1/255 of the widest group's range.
    fn set_table(&mut self) {
        let mut widest = 0.0f32;
        for group in self.values.as_chunks::<GROUP>().0 {
            widest = widest.max((group[0].abs() + group[1].abs()) + (group[2].abs() + group[3].abs()));
        }
        self.table.clear();
        self.table.resize(self.values.len() * PATTERNS / GROUP, 0);
        let (step, per_step) = (widest / 255.0, 255.0 / widest);
        if !(per_step.is_finite() && step > 0.0) {
            // Too wide or too narrow to be divided: the table says nothing, unless the query is zero.
            (self.step, self.bias) = (0.0, 0.0);
            self.error = if widest == 0.0 { 0.0 } else { f32::INFINITY };
            return;
        }
        let squares = Kernel::best().sign_table(&self.values, per_step, &mut self.table);
        (self.step, self.bias) = (step, (-0.5 * sum(&self.values, f32::abs)) as f32);
        self.error = EPSILON as f32 * step * (squares / PATTERNS as f32).sqrt();
    }

    /// Its dimensions.
    pub(crate) fn dim(&self) -> usize {
        self.values.len()
    }

    /// The deviation of the products of signs that are looked up in the table.
    pub(crate) fn table_deviation(&self) -> f32 {
        self.error / EPSILON as f32
    }

    /// Estimates one block's entries by their signs. `centroid_distance` is |q - c|². What the block has beyond the
    /// list's end means nothing.
    pub(crate) fn sign_block(
        &self,
        list: &CodedList<'_>,
        block: usize,
        centroid_distance: f32,
        out: &mut SignEstimates,
    ) {
        let (kernel, block) = (Kernel::best(), list.block(block));
        let mut sums = [0; BLOCK];
        kernel.fastscan(block.signs, &self.table, &mut sums);
        let terms = SignTerms {
            distance: centroid_distance,
            step: self.step,
            bias: self.bias,
            error: self.error,
            spread: list.bounds.sign_slope * centroid_distance.sqrt() + list.bounds.sign_offset,
        };
        kernel.sign_estimates(&sums, block.factors, &terms, &mut out.estimate, &mut out.lower);
    }

    /// Estimates the squared distance of one entry by all bits of its code. `centroid_distance` is |q - c|².
    pub(crate) fn full(&self, list: &CodedList<'_>, entry: usize, centroid_distance: f32) -> f32 {
        let record = list.record(entry);
        let signs = list.block(entry / BLOCK).signs;
        let product =
            Kernel::best().code_dot(list.shape.bits, signs, entry % BLOCK, record.planes, &self.values);
        let estimate = (record.add + centroid_distance) + record.scale * (product + self.centring);
        // Not a number it would be lost in comparisons.
        if estimate.is_finite() { estimate } else { f32::MAX }
    }

    /// The product of the query with a centred code whose signs, as ±½, have this product and whose lower bits are these.
    pub(crate) fn product(&self, shape: CodeShape, signs: f32, planes: &[u8]) -> f32 {
        let low = Kernel::best().code_dot(shape.bits, &self.no_signs, 0, planes, &self.values);
        let high = (1u32 << (shape.bits - 1)) as f32 * (signs + 0.5 * self.sum);
        high + low + self.centring
    }
}

/// A sum over dimensions in `f64`, in lanes that do not wait for each other.
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0; 16];
    for chunk in values.as_chunks::<16>().0 {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(of(value));
        }
    }
    lanes.iter().sum()
}
