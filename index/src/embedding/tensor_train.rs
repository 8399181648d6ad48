//! TT-Rec: a row is a product of three small matrices, picked by the digits of its id.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::linear::{add_rows, directions};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, uniform_values};

/// What first values are drawn for, among the uses of a seed.
const LANE: u64 = 0x77;

/// Which core the lowest digit of an id picks from. Trained tables of the study have the first, decomposed ones the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigitOrder {
    /// The lowest digit picks from core 1.
    LowestFirst,
    /// The lowest digit picks from core 3.
    LowestLast,
}

/// Value `(a, b, c)` of a row is `Σ_s Σ_t G1[i1][a][s] · G2[i2][s][b][t] · G3[i3][t][c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorTrain {
    rows: u64,
    /// How many digits there are of each place.
    digits: [u64; 3],
    /// The factors of the number of dimensions.
    factors: [usize; 3],
    rank: usize,
    order: DigitOrder,
    cores: [Vec<f32>; 3],
}

impl TensorTrain {
    /// Cores of the greatest rank that a budget allows, with random values such that rows are about `scale` great.
    ///
    /// # Errors
    /// When the budget is too small for rank 1.
    pub fn new(rows: u64, dim: usize, budget_bytes: u64, scale: f32, seed: u64) -> Result<Self> {
        let mut table = Self::empty(rows, dim, DigitOrder::LowestFirst);
        table.rank = table.greatest_rank(budget_bytes)?;
        // A value is a sum of rank² products of three.
        let each = (scale / table.rank as f32).cbrt() * 3f32.sqrt();
        table.cores = std::array::from_fn(|core| {
            let len = table.digits[core] as usize * table.width(core);
            uniform_values(seed, LANE + core as u64, len, each)
        });
        Ok(table)
    }

    /// Cores of the greatest rank that the budget allows, from two singular value decompositions.
    ///
    /// # Errors
    /// When the budget is too small for rank 1.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let mut table = Self::empty(input.rows() as u64, input.dim(), DigitOrder::LowestLast);
        let [n1, n2, n3] = table.digits.map(|n| n as usize);
        let [d1, d2, d3] = table.factors;
        let most = (n1 * d1).min(n3 * d3);
        table.rank = table.greatest_rank(input.budget_bytes())?.min(most);
        let rank = table.rank;
        let mut row = vec![0.0; input.dim()];
        // Rows (i2, b, i3, c), columns (i1, a).
        let mut unfolded = vec![0.0; n1 * n2 * n3 * input.dim()];
        for id in 0..input.rows() {
            row.copy_from_slice(input.row(id));
            let [i1, i2, i3] = table.split(id as u64).map(|i| i as usize);
            for (j, &x) in row.iter().enumerate() {
                let (a, b, c) = (j / (d2 * d3), j / d3 % d2, j % d3);
                unfolded[(((i2 * d2 + b) * n3 + i3) * d3 + c) * n1 * d1 + i1 * d1 + a] = x;
            }
        }
        let first = directions(&unfolded, n1 * d1, None, rank);
        // Rows (s, i2, b), columns (i3, c).
        let width = n3 * d3;
        let mut rest = vec![0.0; rank * n2 * d2 * width];
        for (at, column) in unfolded.chunks_exact(n1 * d1).enumerate() {
            for (s, direction) in first.chunks_exact(n1 * d1).enumerate() {
                let dot: f64 = column.iter().zip(direction).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                rest[(s * n2 * d2) * width + at] = dot as f32;
            }
        }
        let last = directions(&rest, width, None, rank);
        table.fill(&first, &rest, &last);
        Ok(table)
    }

    fn empty(rows: u64, dim: usize, order: DigitOrder) -> Self {
        let side = (1u64..).find(|side| side.pow(3) >= rows).unwrap_or(1);
        let digits = [side, side, rows.div_ceil(side * side).max(1)];
        Self { rows, digits, factors: factors(dim), rank: 1, order, cores: Default::default() }
    }

    /// Cores from both sets of directions and what is between them.
    fn fill(&mut self, first: &[f32], rest: &[f32], last: &[f32]) {
        let [n1, n2, n3] = self.digits.map(|n| n as usize);
        let [d1, d2, d3] = self.factors;
        let (rank, width) = (self.rank, n3 * d3);
        self.cores = [vec![0.0; n1 * d1 * rank], vec![0.0; n2 * rank * d2 * rank], vec![0.0; n3 * rank * d3]];
        for s in 0..rank {
            for row in 0..n1 * d1 {
                self.cores[0][row * rank + s] = first[s * n1 * d1 + row];
            }
            for i3 in 0..n3 {
                for c in 0..d3 {
                    self.cores[2][(i3 * rank + s) * d3 + c] = last[s * width + i3 * d3 + c];
                }
            }
            for (i2, b) in (0..n2).flat_map(|i2| (0..d2).map(move |b| (i2, b))) {
                let row = &rest[((s * n2 + i2) * d2 + b) * width..][..width];
                for t in 0..rank {
                    let direction = &last[t * width..][..width];
                    let dot: f64 =
                        row.iter().zip(direction).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                    self.cores[1][((i2 * rank + s) * d2 + b) * rank + t] = dot as f32;
                }
            }
        }
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Values of one matrix of a core.
    fn width(&self, core: usize) -> usize {
        let [d1, d2, d3] = self.factors;
        [d1 * self.rank, self.rank * d2 * self.rank, self.rank * d3][core]
    }

    fn greatest_rank(&self, budget_bytes: u64) -> Result<usize> {
        let bytes = |rank: usize| {
            let table = Self { rank, cores: Default::default(), ..*self };
            (0..3).map(|core| table.digits[core] * table.width(core) as u64 * 4).sum::<u64>()
        };
        if bytes(1) > budget_bytes {
            let fix = "allow more bytes";
            return Err(IndexError::Budget {
                what: "cores of rank 1",
                needed: bytes(1),
                allowed: budget_bytes,
                fix,
            });
        }
        Ok((1..=1 << 12).take_while(|&rank| bytes(rank) <= budget_bytes).last().unwrap_or(1))
    }

    /// The digits of an id, that of core 1 first.
    fn split(&self, id: u64) -> [u64; 3] {
        let [n1, n2, n3] = self.digits;
        match self.order {
            DigitOrder::LowestFirst => [id % n1, id / n1 % n2, id / (n1 * n2)],
            DigitOrder::LowestLast => [id / (n3 * n2), id / n3 % n2, id % n3],
        }
    }

    /// The three matrices of an id.
    fn matrices(&self, id: u64) -> [&[f32]; 3] {
        let picked = self.split(id);
        std::array::from_fn(|core| {
            &self.cores[core][picked[core] as usize * self.width(core)..][..self.width(core)]
        })
    }

    /// `Σ_s G1[a][s] · G2[s][b][t]`: `[a][b][t]`.
    fn left(&self, g1: &[f32], g2: &[f32]) -> Vec<f32> {
        let wide = self.factors[1] * self.rank;
        let mut out = vec![0.0; self.factors[0] * wide];
        for (out, g1) in out.chunks_exact_mut(wide).zip(g1.chunks_exact(self.rank)) {
            add_rows(g1, g2, out);
        }
        out
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [rank, order] = *params else { return Ok(None) };
        if !(1..=1 << 12).contains(&rank) || order > 1 || rows > 1 << 48 {
            return Ok(None);
        }
        let order = if order == 0 { DigitOrder::LowestFirst } else { DigitOrder::LowestLast };
        let mut table = Self { rank: rank as usize, ..Self::empty(rows, dim, order) };
        for (core, name) in NAMES.iter().enumerate() {
            let len = (table.digits[core] as usize).saturating_mul(table.width(core));
            table.cores[core] = segments.floats(name, len)?;
        }
        Ok(Some(table))
    }
}

const NAMES: [&str; 3] = ["core0", "core1", "core2"];

/// Three factors of the number of dimensions that are as near to each other as can be, the smallest first.
fn factors(dim: usize) -> [usize; 3] {
    let mut best = [1, 1, dim];
    for a in (1..=dim).take_while(|a| a * a * a <= dim).filter(|a| dim.is_multiple_of(*a)) {
        let rest = dim / a;
        for b in (a..=rest).take_while(|b| b * b <= rest).filter(|b| rest.is_multiple_of(*b)) {
            if a + b + rest / b <= best.iter().sum() {
                best = [a, b, rest / b];
            }
        }
    }
    best
}

impl Table for TensorTrain {
    fn method(&self) -> Method {
        Method::TensorTrain
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.factors.iter().product()
    }

    fn params(&self) -> Vec<u64> {
        vec![self.rank as u64, self.order as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        (0..3).map(|core| Segment::floats(NAMES[core], self.width(core), &self.cores[core])).collect()
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let [g1, g2, g3] = self.matrices(id);
        let left = self.left(g1, g2);
        let d3 = self.factors[2];
        out.fill(0.0);
        for (out, left) in out.chunks_exact_mut(d3).zip(left.chunks_exact(self.rank)) {
            add_rows(left, g3, out);
        }
    }
}

impl Train for TensorTrain {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        (0..3).map(|core| Shape { rows: self.digits[core], width: self.width(core) }).collect()
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let picked = self.split(id);
        let [g1, g2, g3] = self.matrices(id);
        let ([d1, d2, d3], rank) = (self.factors, self.rank);
        let left = self.left(g1, g2);
        let mut of3 = vec![0.0; rank * d3];
        // ∂left[a][b][t] = Σ_c g[a][b][c] · G3[t][c]
        let mut of_left = vec![0.0; d1 * d2 * rank];
        for (ab, g) in gradient.chunks_exact(d3).enumerate() {
            for t in 0..rank {
                let (x, g3) = (left[ab * rank + t], &g3[t * d3..][..d3]);
                of3[t * d3..][..d3].iter_mut().zip(g).for_each(|(sum, &g)| *sum += x * g);
                of_left[ab * rank + t] = g.iter().zip(g3).map(|(g, y)| g * y).sum();
            }
        }
        let wide = d2 * rank;
        let (mut of1, mut of2) = (vec![0.0; d1 * rank], vec![0.0; rank * wide]);
        for (a, of_left) in of_left.chunks_exact(wide).enumerate() {
            for s in 0..rank {
                let (x, g2) = (g1[a * rank + s], &g2[s * wide..][..wide]);
                of2[s * wide..][..wide].iter_mut().zip(of_left).for_each(|(sum, &g)| *sum += x * g);
                of1[a * rank + s] = of_left.iter().zip(g2).map(|(g, y)| g * y).sum();
            }
        }
        for (core, gradient) in [of1, of2, of3].into_iter().enumerate() {
            out.push(core, picked[core], gradient);
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let width = self.width(segment);
        &mut self.cores[segment][row as usize * width..][..width]
    }
}
