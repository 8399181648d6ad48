//! Where vectors without a list go, and which vectors a split draws over from the lists around it.

use super::old::OldEntry;
use super::{Arrivals, Fate, Fold, Strays, Survey};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::live::entries::point_of;
use crate::live::place::Placer;
use crate::posting::Body;
use crate::router::Router;
use crate::vector::RowId;

/// Lists around a split whose vectors are looked at.
const AROUND: usize = 32;

/// Vectors that may move, and the old list of each.
#[derive(Default)]
struct Doubtful {
    strays: Strays,
    lists: Vec<u32>,
}

impl Fold<'_> {
    /// Finds out what moves where.
    pub(super) fn reassign(&mut self, survey: &Survey, router: &Router) -> Result<Arrivals> {
        let mut arrivals = Arrivals::default();
        self.settle(&survey.strays, router, &mut arrivals)?;
        let doubtful = self.doubtful(survey)?;
        self.decide(&doubtful, router, &survey.numbers(), &mut arrivals)?;
        arrivals.count = arrivals.to.values().map(|strays| strays.rows.len() as u64).sum();
        Ok(arrivals)
    }

    /// Finds lists for strays.
    fn settle(&self, strays: &Strays, router: &Router, arrivals: &mut Arrivals) -> Result<()> {
        let (mut placer, mut point) = (Placer::default(), vec![0.0; self.index.space.dim()]);
        self.each_stray(strays, |at, vector| {
            self.index.space.embed(vector, &mut point);
            let near = placer.nearest(router, &point);
            arrivals.moved.insert(strays.rows[at]);
            self.stray(arrivals.to.entry(near.at).or_default(), strays.rows[at], vector);
        })
    }

    /// Vectors of lists that stay to which the centroid of a part of a split list seems nearer than their own.
    fn doubtful(&mut self, survey: &Survey) -> Result<Doubtful> {
        let around = self.around(survey);
        let (kernel, dim) = (Kernel::best(), self.index.space.dim());
        let row_bytes = self.index.space.shape.row_bytes();
        let (mut doubtful, mut point) = (Doubtful::default(), vec![0.0; dim]);
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
                        Body::Raw { vectors, .. } => &vectors[entry.at * row_bytes..][..row_bytes],
                        Body::Coded(_) => &[],
                    };
                    fold.stray(&mut doubtful.strays, entry.row, vector);
                    doubtful.lists.push(old.number);
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
    fn decide(
        &self,
        doubtful: &Doubtful,
        router: &Router,
        numbers: &[u32],
        arrivals: &mut Arrivals,
    ) -> Result<()> {
        let (mut placer, mut point) = (Placer::default(), vec![0.0; self.index.space.dim()]);
        self.each_stray(&doubtful.strays, |at, vector| {
            let (row, list) = (doubtful.strays.rows[at], doubtful.lists[at]);
            self.index.space.embed(vector, &mut point);
            let own = Kernel::best().l2_f32(&point, &self.centroid(list)) as f32;
            let near = placer.nearest(router, &point);
            if near.distance < own && near.at != numbers[list as usize] {
                arrivals.moved.insert(row);
                self.stray(arrivals.to.entry(near.at).or_default(), row, vector);
            }
        })
    }
}
