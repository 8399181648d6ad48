//! Rows packed for the filter: panels of [`LANES`] rows, component by component.

use std::path::Path;

use rayon::prelude::*;

use super::bound::Extremes;
use super::exact;
use crate::dots::{Column, LANES};
use crate::{DatasetError, ElementType, Metric, Result};

/// A block of rows, packed.
#[derive(Default)]
pub(super) struct Block {
    columns: Vec<Column>,
    about: Vec<About>,
    dim: usize,
}

/// One panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// `dim` columns.
    pub(super) columns: &'a [Column],
    pub(super) about: &'a About,
}

/// Everything about a panel but its components.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Rows in use; the lanes behind them are zero.
    pub(super) rows: usize,
    pub(super) norms: [f64; LANES],
    /// See `bound.rs`.
    w: Column,
    h: Column,
    pub(super) extremes: Extremes,
}

impl Block {
    /// Packs rows, the first being row `first` of `path`.
    pub(super) fn pack(&mut self, rows: &Rows<'_>) -> Result<()> {
        let panel_bytes = LANES * rows.row_bytes();
        let panels = rows.bytes.len().div_ceil(panel_bytes);
        self.dim = rows.dim;
        self.columns.resize(panels * rows.dim, [0.0; LANES]);
        self.about.resize(panels, About::default());
        let outputs = self.columns.par_chunks_mut(rows.dim).zip(&mut self.about);
        let inputs = rows.bytes.par_chunks(panel_bytes).enumerate();
        outputs.zip(inputs).try_for_each(|((columns, about), (panel, bytes))| {
            let first = rows.first + (panel * LANES) as u64;
            *about = pack_panel(columns, &Rows { bytes, first, ..*rows })?;
            Ok(())
        })
    }

    pub(super) fn panels(&self) -> impl Iterator<Item = Panel<'_>> {
        self.columns.chunks_exact(self.dim).zip(&self.about).map(|(columns, about)| Panel { columns, about })
    }
}

/// Rows as they stand in a file.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) element: ElementType,
    pub(super) dim: usize,
    pub(super) metric: Metric,
    /// Number of the first row.
    pub(super) first: u64,
    /// Where they come from, for errors.
    pub(super) path: &'a Path,
}

impl Rows<'_> {
    fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes()
    }
}

fn pack_panel(columns: &mut [Column], rows: &Rows<'_>) -> Result<About> {
    columns.fill([0.0; LANES]);
    let mut about = About::default();
    let mut wide = vec![0.0; rows.dim];
    for (lane, row) in rows.bytes.chunks_exact(rows.row_bytes()).enumerate() {
        rows.element.widen(row, &mut wide);
        for (column, &value) in columns.iter_mut().zip(&wide) {
            column[lane] = value;
        }
        let norm2 = exact::norm2(wide.iter().copied());
        if norm2 == 0.0 && rows.metric == Metric::Cosine {
            return Err(DatasetError::ZeroVector {
                file: rows.path.to_owned(),
                row: rows.first + lane as u64,
            });
        }
        about.set(lane, norm2, rows.metric);
    }
    Ok(about)
}

impl About {
    fn set(&mut self, lane: usize, norm2: f64, metric: Metric) {
        let norm = norm2.sqrt();
        let (w, h) = match metric {
            Metric::L2 => (1.0, norm2 / 2.0),
            Metric::InnerProduct => (1.0, 0.0),
            Metric::Cosine => (1.0 / norm, 0.0),
        };
        self.rows = lane + 1;
        self.norms[lane] = norm;
        (self.w[lane], self.h[lane]) = (w as f32, h as f32);
        let e = &mut self.extremes;
        (e.norm, e.w) = (e.norm.max(norm), e.w.max(w));
        (e.scaled, e.h) = (e.scaled.max(w * norm), e.h.max(h));
    }
}

/// Whether any row's g = p w - h reaches the threshold, or is NaN.
pub(super) fn any_reaches(products: &Column, about: &About, threshold: f32) -> bool {
    let mut any = false;
    for lane in 0..LANES {
        any |= reaches(products, about, lane, threshold);
    }
    any
}

/// Whether the row in that lane reaches the threshold, or is NaN.
#[inline]
pub(super) fn reaches(products: &Column, about: &About, lane: usize, threshold: f32) -> bool {
    let below = products[lane] * about.w[lane] - about.h[lane] < threshold;
    !below
}
