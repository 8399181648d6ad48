//! Distances among some points taken by chance.

use nearline_index::{RowId, Scorer};

use super::query::{Chance, score_of};
use super::{Collection, Reader};
use crate::error::QueryError;
use crate::filter::{Condition, Filter};
use crate::point_id::PointId;

/// Points of a matrix at most.
pub const MATRIX_SAMPLE_MAX: usize = 4096;
/// Points, and neighbours of each, unless told otherwise.
const SAMPLE: usize = 10;
const LIMIT: usize = 3;

/// Which points are compared with each other.
///
/// ```
/// use nearline::Matrix;
///
/// let matrix = Matrix::new().sample(100).limit(5).using("text");
/// # let _ = matrix;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Matrix {
    sample: usize,
    limit: usize,
    using: String,
    filter: Option<Filter>,
    seed: Option<u64>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self { sample: SAMPLE, limit: LIMIT, using: String::new(), filter: None, seed: None }
    }
}

impl Matrix {
    /// Ten points taken by chance, and for each the three nearest of the others.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many points, 2 at least.
    pub fn sample(mut self, sample: usize) -> Self {
        self.sample = sample;
        self
    }

    /// So many neighbours of each.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// By vectors of this name; the empty one unless told otherwise.
    pub fn using(mut self, name: impl Into<String>) -> Self {
        self.using = name.into();
        self
    }

    /// Only points that match.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// The same points for the same seed, as long as nothing is written.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// Points, and the nearest of the others for each of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MatrixAnswer {
    /// The points, in order of their ids. None if fewer than two match.
    pub ids: Vec<PointId>,
    /// For each of them, the places in `ids` of its neighbours and their scores, nearest first.
    pub neighbors: Vec<Vec<(usize, f32)>>,
}

impl Collection {
    /// Compares some points, taken by chance, with each other.
    ///
    /// # Errors
    /// [`QueryError`], saying what of the question is wrong or which file cannot be read.
    pub fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).matrix(matrix)
    }
}

impl Reader<'_> {
    pub(super) fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError> {
        if !(2..=MATRIX_SAMPLE_MAX).contains(&matrix.sample) {
            return Err(QueryError::bad(
                "sample of a matrix",
                matrix.sample,
                format!("2 to {MATRIX_SAMPLE_MAX}"),
            ));
        }
        if matrix.limit == 0 {
            return Err(QueryError::bad("limit of a matrix", 0, "1 or more"));
        }
        let (at, config) = self.vectors_named(&matrix.using)?;
        let has_vector = Filter::must([Condition::has_vector(matrix.using.clone())]);
        let filter = match &matrix.filter {
            Some(filter) => self.check(filter)?.and(self.check(&has_vector)?),
            None => self.check(&has_vector)?,
        };
        let rows = Chance::new(matrix.seed).pick(&self.matching(&filter)?.0, matrix.sample);
        if rows.len() < 2 {
            return Ok(MatrixAnswer::default());
        }
        let rows: Vec<RowId> = rows.into_iter().map(RowId).collect();
        let mut points: Vec<(PointId, RowId)> =
            self.documents(&rows)?.into_iter().map(|(id, _)| id).zip(rows).collect();
        points.sort_unstable();
        let (ids, rows): (Vec<PointId>, Vec<RowId>) = points.into_iter().unzip();
        let vectors = self.stored_vectors(at, &rows)?;
        let neighbors = |own: usize| {
            let scorer = Scorer::new(config.metric, config.shape(), &vectors[own]);
            let others = (0..vectors.len()).filter(|&other| other != own);
            let mut near: Vec<(usize, f32)> =
                others.map(|other| (other, scorer.distance(&vectors[other]))).collect();
            near.sort_by(|a, b| a.1.total_cmp(&b.1));
            near.truncate(matrix.limit);
            near.into_iter().map(|(other, distance)| (other, score_of(config.metric, distance))).collect()
        };
        let neighbors = (0..ids.len()).map(neighbors).collect();
        Ok(MatrixAnswer { ids, neighbors })
    }
}
