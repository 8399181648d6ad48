//! Which lists stay, which are split, and which dissolve.

use super::old::{Old, OldEntry};
use super::{Fate, Fold, Part, Split, Strays, Survey};
use crate::cluster::kmeans;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::live::entries::Entries;
use crate::posting::{Body, Codec};
use crate::quantize::{self, CodeShape, Scale};
use crate::random::Random;
use crate::router::CENTROID_BITS;
use crate::vector::RowId;

/// Iterations of a split.
const ITERATIONS: usize = 8;
const LANE: u64 = 11;

/// The vectors of a list that are not dead, primaries first.
#[derive(Default)]
struct Members {
    rows: Vec<u32>,
    /// As they are stored, and in the routing space.
    vectors: Vec<u8>,
    points: Vec<f32>,
    primaries: usize,
}

impl Fold<'_> {
    /// Looks through all lists and decides.
    pub(super) fn survey(&mut self) -> Result<Survey> {
        let mut survey = Survey::default();
        // Vectors of the lists that dissolved in a row: where all are short, some have to stay.
        let (mut homeless, mut split_bytes) = (0, 0);
        self.for_each_list(|fold, old| {
            let is_live = |entry: &OldEntry<'_>| !entry.is_copy && !(fold.options.is_dead)(RowId(entry.row));
            let primaries = old.entries().filter(is_live).count();
            let fate = match primaries {
                0 => Fate::Dissolved,
                few if few < fold.sizes.least && homeless + few <= fold.sizes.vectors => {
                    homeless += few;
                    let members = fold.members(old)?;
                    let row_bytes = fold.index.space.shape.row_bytes();
                    let all = members.rows.iter().zip(members.vectors.chunks_exact(row_bytes));
                    all.take(members.primaries)
                        .for_each(|(&row, vector)| fold.stray(&mut survey.strays, row, vector));
                    Fate::Dissolved
                }
                some if some <= fold.sizes.most => Fate::Stays,
                some if some <= fold.sizes.cap && split_bytes > fold.options.memory_bytes => Fate::Stays,
                _ => {
                    let members = fold.members(old)?;
                    split_bytes += (members.rows.len() * fold.index.layout.entry_bytes()) as u64;
                    fold.split(old.number, &members, &mut survey.strays)
                }
            };
            if !matches!(fate, Fate::Dissolved) {
                homeless = 0;
            }
            survey.fates.push(fate);
            Ok(())
        })?;
        // Somebody has to stay.
        let is_empty = survey.fates.iter().all(|fate| matches!(fate, Fate::Dissolved));
        if let Some(first) = survey.fates.first_mut().filter(|_| is_empty && !survey.strays.rows.is_empty()) {
            *first = Fate::Stays;
        }
        Ok(survey)
    }

    /// The vectors of a list. Those that are nowhere to be found are dead.
    fn members(&mut self, old: &Old<'_>) -> Result<Members> {
        let (space, row_bytes) = (&self.index.space, self.index.space.shape.row_bytes());
        let is_dead = self.options.is_dead;
        let mut entries: Vec<OldEntry<'_>> =
            old.entries().filter(|entry| !is_dead(RowId(entry.row))).collect();
        entries.sort_by_key(|entry| entry.is_copy);
        let mut vectors: Vec<Option<Vec<u8>>> = vec![None; entries.len()];
        if self.index.layout.codec == Codec::Raw {
            for (entry, vector) in entries.iter().zip(&mut vectors) {
                if let Body::Raw { vectors: all, .. } = entry.list.body {
                    *vector = Some(all[entry.at * row_bytes..][..row_bytes].to_vec());
                }
            }
        } else {
            let rows: Vec<u32> = entries.iter().map(|entry| entry.row).collect();
            let keep = |at: usize, vector: &[u8]| vectors[at] = Some(vector.to_vec());
            self.live.rows.fetch(&rows, keep)?;
        }
        let mut members = Members::default();
        let mut point = vec![0.0; space.dim()];
        for (entry, vector) in entries.iter().zip(vectors) {
            let Some(vector) = vector else { continue };
            space.embed(&vector, &mut point);
            members.rows.push(entry.row);
            members.vectors.extend(vector);
            members.points.extend_from_slice(&point);
            members.primaries += usize::from(!entry.is_copy);
        }
        Ok(members)
    }

    /// Splits a list. Primaries to which the old centroid was nearer than all new ones may belong elsewhere: they stray.
    fn split(&self, list: u32, members: &Members, strays: &mut Strays) -> Fate {
        let dim = self.index.space.dim();
        let count = (members.primaries as f64 / self.sizes.vectors as f64).round().max(2.0) as usize;
        let random = Random::new(self.manifest.seed, LANE + (u64::from(list) << 8));
        let points = &members.points[..members.primaries * dim];
        let trained = kmeans(points, dim, count, ITERATIONS, random).centroids;
        let node = self.index.router.node_of(list);
        let mut base = vec![0.0; dim];
        self.index.router.nodes.row(node, &mut base);
        let shape = CodeShape { dim, bits: CENTROID_BITS };
        let numbers = vec![0; trained.len() / dim];
        let codes = quantize::encode(shape, Scale::LeastSquares, &base, &trained, &numbers);
        let mut centroids = vec![0.0; trained.len()];
        for (part, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            codes.list(shape).decode(part, &base, centroid);
        }
        let parts = self.share(&self.centroid(list), &centroids, members, strays);
        Fate::Split(Box::new(Split { codes, centroids, parts }))
    }

    /// Shares the vectors of a list among its parts.
    fn share(&self, old: &[f32], centroids: &[f32], members: &Members, strays: &mut Strays) -> Vec<Part> {
        let (dim, row_bytes) = (old.len(), self.index.space.shape.row_bytes());
        let kernel = Kernel::best();
        let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); centroids.len() / dim];
        for (at, point) in members.points.chunks_exact(dim).enumerate() {
            let distances = centroids.chunks_exact(dim).map(|centroid| kernel.l2_f32(point, centroid));
            let nearest = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((part, distance)) = nearest else { continue };
            if at < members.primaries && distance > kernel.l2_f32(point, old) {
                self.stray(strays, members.rows[at], &members.vectors[at * row_bytes..][..row_bytes]);
                continue;
            }
            // Vectors that are all the same are not told apart by distance.
            let is_full = |part: usize| chosen[part].len() >= self.sizes.most;
            let part = if is_full(part) {
                (0..chosen.len()).min_by_key(|&part| chosen[part].len()).unwrap_or(part)
            } else {
                part
            };
            chosen[part].push(at);
        }
        let part = |(chosen, centroid): (&Vec<usize>, &[f32])| {
            let rows: Vec<u32> = chosen.iter().map(|&at| members.rows[at]).collect();
            let vectors: Vec<u8> = chosen
                .iter()
                .flat_map(|&at| &members.vectors[at * row_bytes..][..row_bytes])
                .copied()
                .collect();
            let points: Vec<f32> =
                chosen.iter().flat_map(|&at| &members.points[at * dim..][..dim]).copied().collect();
            let entries = Entries::encode(self.index.layout, centroid, &rows, &vectors, &points);
            let primaries = chosen.iter().filter(|&&at| at < members.primaries).count();
            Part { entries, primaries }
        };
        chosen.iter().zip(centroids.chunks_exact(dim)).map(part).collect()
    }
}
