//! Distances between a query and stored vectors, exact to the rounding of one `f32`.

use std::fmt;

use half::f16;
use simsimd::SpatialSimilarity;

use crate::kernel::{Kernel, Sums};
use crate::vector::{ElementType, Shape};

/// How far apart two vectors are. Smaller is nearer for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance.
    L2,
    /// The negative inner product.
    InnerProduct,
    /// One minus the cosine of the angle.
    Cosine,
    /// The sum of the absolute differences. Only for comparing all vectors: lists are made by squared distances.
    Manhattan,
}

impl Metric {
    /// The metric's name on the command line: `l2`, `ip`, `cosine` or `manhattan`.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "ip",
            Self::Cosine => "cosine",
            Self::Manhattan => "manhattan",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::L2 => 0,
            Self::InnerProduct => 1,
            Self::Cosine => 2,
            Self::Manhattan => 3,
        }
    }

    /// The metric of an index.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::OF_LISTS.into_iter().find(|metric| metric.code() == code)
    }

    /// Those that there are posting lists for.
    const OF_LISTS: [Self; 3] = [Self::L2, Self::InnerProduct, Self::Cosine];

    /// Whether there are posting lists for it.
    pub fn has_lists(self) -> bool {
        Self::OF_LISTS.contains(&self)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What tells how far stored vectors are from what is looked for.
pub trait Distances {
    /// The distances of consecutive stored rows, one into each element of `out`; smaller is nearer. The rows lie as planes
    /// of extents do.
    fn distances(&self, rows: &[u8], out: &mut [f32]);

    /// The distance of one stored row, wherever its bytes lie in memory.
    fn distance(&self, row: &[u8]) -> f32 {
        let (mut copy, mut distance) = (Vec::new(), [0.0]);
        self.distances(crate::search::aligned(row, &mut copy), &mut distance);
        distance[0]
    }
}

impl Distances for Scorer {
    fn distances(&self, rows: &[u8], out: &mut [f32]) {
        Self::distances(self, rows, out);
    }
}

/// Computes distances from one query to stored vectors of the same shape.
///
/// Sums are exact for integers and in `f64` for floats; the result is rounded to `f32` once, so that an
/// exhaustive scan and a search agree to the bit.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    shape: Shape,
    kernel: Kernel,
    /// The query as it came, for integers.
    raw: Vec<u8>,
    /// The query in `f32`, for floats.
    wide: Vec<f32>,
    /// Σ q·q
    norm: f64,
}

impl Scorer {
    /// A scorer for `query`, a row of `shape`.
    pub fn new(metric: Metric, shape: Shape, query: &[u8]) -> Self {
        Self::with_kernel(metric, shape, query, Kernel::best())
    }

    pub(crate) fn with_kernel(metric: Metric, shape: Shape, query: &[u8], kernel: Kernel) -> Self {
        assert_eq!(query.len(), shape.row_bytes());
        let mut wide = vec![0.0; shape.dim];
        shape.widen(query, &mut wide);
        let norm = kernel.sums_f32(&wide, &wide).norm;
        Self { metric, shape, kernel, raw: query.to_vec(), wide, norm }
    }

    /// The distance of one stored row, wherever its bytes lie in memory.
    ///
    /// # Panics
    /// When `row` is not of the scorer's shape.
    pub fn distance(&self, row: &[u8]) -> f32 {
        Distances::distance(self, row)
    }

    /// The distances of consecutive stored rows, one into each element of `out`.
    ///
    /// # Panics
    /// When `rows` are not as many as `out`, or not aligned to the element type, as planes of extents are.
    pub fn distances(&self, rows: &[u8], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len() * self.shape.row_bytes());
        match self.shape.element {
            ElementType::F32 => self.float_rows::<f32>(bytemuck::cast_slice(rows), out, KERNELS_F32),
            ElementType::F16 => self.float_rows::<f16>(bytemuck::cast_slice(rows), out, KERNELS_F16),
            ElementType::U8 => {
                let kernel = self.kernel;
                let l2 = |q: &[u8], x: &[u8]| kernel.l2_u8(q, x) as f64;
                let dot = |q: &[u8], x: &[u8]| kernel.dot_u8(q, x) as f64;
                let l1 = |q: &[u8], x: &[u8]| kernel.l1_u8(q, x) as f64;
                self.byte_rows(&self.raw, rows, out, (l2, dot, l1));
            }
            ElementType::I8 => {
                let (query, rows) = (bytemuck::cast_slice(&self.raw), bytemuck::cast_slice(rows));
                let l1 = |q: &[i8], x: &[i8]| self.kernel.l1_i8(q, x) as f64;
                self.byte_rows::<i8>(query, rows, out, (i8_l2, i8_dot, l1));
            }
        }
    }

    fn float_rows<T>(&self, rows: &[T], out: &mut [f32], (l2, sums, l1): FloatKernels<T>) {
        for (row, out) in rows.chunks_exact(self.shape.dim).zip(out) {
            *out = match self.metric {
                Metric::L2 => l2(self.kernel, &self.wide, row) as f32,
                Metric::Manhattan => l1(self.kernel, &self.wide, row) as f32,
                _ => self.of_sums(sums(self.kernel, &self.wide, row)),
            };
        }
    }

    fn byte_rows<T>(
        &self,
        query: &[T],
        rows: &[T],
        out: &mut [f32],
        (l2, dot, l1): (impl Fn(&[T], &[T]) -> f64, impl Fn(&[T], &[T]) -> f64, impl Fn(&[T], &[T]) -> f64),
    ) {
        for (row, out) in rows.chunks_exact(self.shape.dim).zip(out) {
            *out = match self.metric {
                Metric::L2 => l2(query, row) as f32,
                Metric::Manhattan => l1(query, row) as f32,
                Metric::InnerProduct => self.of_sums(Sums { dot: dot(query, row), norm: 0.0 }),
                Metric::Cosine => self.of_sums(Sums { dot: dot(query, row), norm: dot(row, row) }),
            };
        }
    }

    fn of_sums(&self, sums: Sums) -> f32 {
        match self.metric {
            // Adding zero turns -0 into 0: equal distances must compare equal.
            Metric::InnerProduct => (-sums.dot) as f32 + 0.0,
            _ => (1.0 - sums.dot / (self.norm * sums.norm).sqrt()) as f32,
        }
    }
}

type FloatKernels<T> =
    (fn(Kernel, &[f32], &[T]) -> f64, fn(Kernel, &[f32], &[T]) -> Sums, fn(Kernel, &[f32], &[T]) -> f64);
const KERNELS_F32: FloatKernels<f32> = (Kernel::l2_f32, Kernel::sums_f32, Kernel::l1_f32);
const KERNELS_F16: FloatKernels<f16> = (Kernel::l2_f16, Kernel::sums_f16, Kernel::l1_f16);

/// Bytes a library call may add up at once: 16,384 squares of at most 255² stay below 2³¹.
const INTEGER_CHUNK: usize = 16_384;

fn i8_l2(q: &[i8], x: &[i8]) -> f64 {
    library_sum(q, x, i8::l2sq)
}

fn i8_dot(q: &[i8], x: &[i8]) -> f64 {
    library_sum(q, x, i8::dot)
}

/// Adds up the library's exact integer sums over pieces short enough not to overflow its 32-bit lanes.
fn library_sum(q: &[i8], x: &[i8], sum: fn(&[i8], &[i8]) -> Option<f64>) -> f64 {
    q.chunks(INTEGER_CHUNK).zip(x.chunks(INTEGER_CHUNK)).map(|(q, x)| sum(q, x).unwrap_or(f64::NAN)).sum()
}
