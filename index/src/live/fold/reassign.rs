//! Where vectors without a list go, and which vectors a split draws over from the lists around it.

use super::old::OldEntry;
use super::{Arrivals, Fate, Fold, Strays, Survey};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::live::entries::point_of;
use crate::live::place::Placer;
use crate::posting::{Body, Codec};
use crate::router::Router;
use crate::vector::RowId;

/// Lists around a split whose vectors are looked at.
const AROUND: usize = 32;
/// Vectors fetched together.
const TOGETHER: usize = 4096;

/// A vector that may move: its row, the old list it is in, and its bytes where lists hold them.
struct Doubtful {
    row: u32,
    list: u32,
    vector: Vec<u8>,
}

impl Fold<'_> {
    /// Finds out what moves where.
    pub(super) fn reassign(&mut self, survey: &Survey, router: &Router) -> Result<Arrivals> {
        let mut arrivals = Arrivals::default();
        self.settle(&survey.strays, router, &mut arrivals);
        let mut doubtful = self.doubtful(survey)?;
        let numbers = survey.numbers();
        for some in doubtful.chunks_mut(TOGETHER) {
            self.check_cancelled()?;
            if self.index.layout.codec != Codec::Raw {
                let rows: Vec<u32> = some.iter().map(|doubtful| doubtful.row).collect();
                let keep = |at: usize, vector: &[u8]| some[at].vector = vector.to_vec();
                self.live.rows.fetch(&rows, keep)?;
            }
            self.decide(some, router, &numbers, &mut arrivals);
            some.iter_mut().for_each(|doubtful| doubtful.vector = Vec::new());
        }
        arrivals.count = arrivals.to.values().map(|strays| strays.rows.len() as u64).sum();
        Ok(arrivals)
    }

    /// Finds lists for strays.
    fn settle(&self, strays: &Strays, router: &Router, arrivals: &mut Arrivals) {
        let (mut placer, mut point) = (Placer::default(), vec![0.0; self.index.space.dim()]);
        let vectors = strays.vectors.chunks_exact(self.index.space.shape.row_bytes());
        for (&row, vector) in strays.rows.iter().zip(vectors) {
            self.index.space.embed(vector, &mut point);
            let near = placer.nearest(router, &point);
            arrivals.moved.insert(row);
            arrivals.to.entry(near.at).or_default().push(row, vector);
        }
    }

    /// Vectors of lists that stay to which the centroid of a part of a split list seems nearer than their own.
    fn doubtful(&mut self, survey: &Survey) -> Result<Vec<Doubtful>> {
        let around = self.around(survey);
        let (kernel, dim) = (Kernel::best(), self.index.space.dim());
        let row_bytes = self.index.space.shape.row_bytes();
        let (mut doubtful, mut point) = (Vec::new(), vec![0.0; dim]);
        self.for_each_list(|fold, old| {
            let splits = &around[old.number as usize];
            if splits.is_empty() {
                return Ok(());
            }
            let centroid = fold.centroid(old.number);
            let is_live = |entry: &OldEntry<'_>| !entry.is_copy && !(fold.options.is_dead)(RowId(entry.row));
            for entry in old.entries().filter(is_live) {
                point_of(&fold.index.space, entry.list, entry.at, &centroid, &mut point);
                let own = kernel.l2_f32(&point, &centroid);
                let mut parts = splits.iter().flat_map(|&split| match &survey.fates[split as usize] {
                    Fate::Split(split) => split.centroids.chunks_exact(dim),
                    _ => [].chunks_exact(dim),
                });
                if parts.any(|part| kernel.l2_f32(&point, part) < own) {
                    let vector = match entry.list.body {
                        Body::Raw { vectors, .. } => vectors[entry.at * row_bytes..][..row_bytes].to_vec(),
                        Body::Coded(_) => Vec::new(),
                    };
                    doubtful.push(Doubtful { row: entry.row, list: old.number, vector });
                }
            }
            Ok(())
        })?;
        Ok(doubtful)
    }

    /// For each list that stays, the split lists that it is around.
    fn around(&self, survey: &Survey) -> Vec<Vec<u32>> {
        let mut around = vec![Vec::new(); survey.fates.len()];
        let mut placer = Placer::default();
        for (list, _) in (0..).zip(&survey.fates).filter(|(_, fate)| matches!(fate, Fate::Split(_))) {
            let centroid = self.centroid(list);
            for near in placer.around(&self.index.router, &centroid, AROUND) {
                if matches!(survey.fates[near.at as usize], Fate::Stays) {
                    around[near.at as usize].push(list);
                }
            }
        }
        around
    }

    /// Moves those that are nearer to another list than to their own.
    fn decide(&self, doubtful: &[Doubtful], router: &Router, numbers: &[u32], arrivals: &mut Arrivals) {
        let (mut placer, mut point) = (Placer::default(), vec![0.0; self.index.space.dim()]);
        for Doubtful { row, list, vector } in doubtful.iter().filter(|doubtful| !doubtful.vector.is_empty()) {
            self.index.space.embed(vector, &mut point);
            let own = Kernel::best().l2_f32(&point, &self.centroid(*list)) as f32;
            let near = placer.nearest(router, &point);
            if near.distance < own && near.at != numbers[*list as usize] {
                arrivals.moved.insert(*row);
                arrivals.to.entry(near.at).or_default().push(*row, vector);
            }
        }
    }
}
