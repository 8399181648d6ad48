//! Writing the files of the new index.

use std::collections::HashSet;
use std::sync::Arc;

use nearline_storage::{BlobWriter, Disk, ExtentFileWriter, FileHeader};

use super::old::Old;
use super::{Arrivals, Fate, Fold, FoldReport, Part, Survey};
use crate::calibration::Calibration;
use crate::centroids;
use crate::directory::{self, Place};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::live::entries::{Entries, point_of};
use crate::manifest::{FileRole, ListedFile, Manifest};
use crate::random::Random;
use crate::router::Router;
use crate::search::open_file;
use crate::vector::RowId;

/// The lists that were written so far.
struct Lists<'a> {
    writer: ExtentFileWriter,
    router: &'a Router,
    arrivals: &'a Arrivals,
    places: Vec<Place>,
    heat: Vec<u32>,
    buffer: Vec<u8>,
}

/// A list that is put together.
struct Draft {
    own: Entries,
    copies: Entries,
}

impl Fold<'_> {
    pub(super) fn write(
        &mut self,
        disk: &Arc<dyn Disk>,
        survey: &Survey,
        router: &Router,
        arrivals: &Arrivals,
    ) -> Result<FoldReport> {
        let disk = disk.as_ref();
        let mut lists = Lists {
            writer: ExtentFileWriter::create(
                disk,
                &self.name(FileRole::Postings),
                self.header(FileRole::Postings),
            )?,
            router,
            arrivals,
            places: Vec::with_capacity(router.lists()),
            heat: Vec::with_capacity(router.lists()),
            buffer: Vec::new(),
        };
        self.for_each_list(|fold, old| {
            let heat = fold.index.info.calibration.heat.get(old.number as usize).copied().unwrap_or(0);
            match &survey.fates[old.number as usize] {
                Fate::Dissolved => Ok(()),
                Fate::Stays => {
                    let draft = fold.kept(old, arrivals);
                    fold.append(&mut lists, draft, heat)
                }
                Fate::Split(split) => {
                    for part in &split.parts {
                        let draft = fold.part(part);
                        fold.append(&mut lists, draft, heat / split.parts.len() as u32)?;
                    }
                    Ok(())
                }
            }
        })?;
        lists.writer.sync()?;
        let Lists { places, heat, .. } = lists;
        self.publish(disk, router, &places, heat)?;
        let count = |is: fn(&Fate) -> bool| survey.fates.iter().filter(|fate| is(fate)).count() as u64;
        Ok(FoldReport {
            rows: places.iter().map(|place| u64::from(place.primaries)).sum(),
            lists: places.len() as u64,
            split: count(|fate| matches!(fate, Fate::Split(_))),
            dissolved: count(|fate| matches!(fate, Fate::Dissolved)),
            moved: arrivals.count,
            bytes: places.last().map_or(0, |place| place.range().end()),
        })
    }

    fn draft(&self) -> Draft {
        Draft { own: Entries::empty(self.index.layout), copies: Entries::empty(self.index.layout) }
    }

    /// What stays of an old list.
    fn kept(&self, old: &Old<'_>, arrivals: &Arrivals) -> Draft {
        let mut draft = self.draft();
        for entry in old.entries().filter(|entry| !(self.options.is_dead)(RowId(entry.row))) {
            if entry.is_copy {
                draft.copies.take(entry.list, entry.at);
            } else if !arrivals.moved.contains(&entry.row) {
                draft.own.take(entry.list, entry.at);
            }
        }
        draft
    }

    fn part(&self, part: &Part) -> Draft {
        let mut draft = self.draft();
        let list = part.entries.posting(self.index.layout);
        (0..part.primaries).for_each(|entry| draft.own.take(&list, entry));
        (part.primaries..list.entries).for_each(|entry| draft.copies.take(&list, entry));
        draft
    }

    /// Appends the next list, with what moved to it.
    fn append(&self, lists: &mut Lists<'_>, draft: Draft, heat: u32) -> Result<()> {
        let (layout, space) = (self.index.layout, &self.index.space);
        let number = lists.places.len() as u32;
        let (mut node, mut centroid) = (vec![0.0; space.dim()], vec![0.0; space.dim()]);
        lists.router.centroid(number, &mut node, &mut centroid);
        let Draft { own: mut entries, copies } = draft;
        let mut arrived = HashSet::new();
        if let Some(strays) = lists.arrivals.to.get(&number) {
            let (mut rows, mut vectors, mut points) = (Vec::new(), Vec::new(), Vec::new());
            self.each_stray(strays, |at, vector| {
                rows.push(strays.rows[at]);
                vectors.extend_from_slice(vector);
                points.resize(points.len() + space.dim(), 0.0);
                let at = points.len() - space.dim();
                space.embed(vector, &mut points[at..]);
            })?;
            let fresh = Entries::encode(layout, &centroid, &rows, &vectors, &points);
            entries.take_all(layout, &fresh);
            arrived.extend(rows);
        }
        let primaries = entries.len(layout);
        self.take_copies(&mut entries, &copies, &arrived, &centroid);
        let first_slot = lists.places.last().map_or(0, |place| place.first_slot + place.primaries);
        let key = lists.writer.next_key();
        lists.buffer.clear();
        entries.write(layout, (number, first_slot, primaries), key, &mut lists.buffer);
        lists.places.push(Place {
            offset: key.offset,
            bytes: lists.buffer.len() as u32,
            entries: entries.len(layout) as u32,
            primaries: primaries as u32,
            first_slot,
        });
        lists.heat.push(heat);
        lists.writer.append_raw(&lists.buffer)?;
        Ok(())
    }

    /// Adds as many copies as there is room for: those nearest to the centroid, if not all, and none of what has arrived.
    fn take_copies(&self, entries: &mut Entries, copies: &Entries, arrived: &HashSet<u32>, centroid: &[f32]) {
        let layout = self.index.layout;
        let list = copies.posting(layout);
        let mut wanted: Vec<usize> =
            (0..list.entries).filter(|&entry| !arrived.contains(&list.row(entry))).collect();
        let room = self.sizes.cap.saturating_sub(entries.len(layout));
        if wanted.len() > room {
            let mut point = vec![0.0; centroid.len()];
            let mut distance = |&entry: &usize| {
                point_of(&self.index.space, &list, entry, centroid, &mut point);
                Kernel::best().l2_f32(&point, centroid)
            };
            let mut ranked: Vec<(f64, usize)> =
                wanted.iter().map(|entry| (distance(entry), *entry)).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
            wanted = ranked.into_iter().take(room).map(|(_, entry)| entry).collect();
        }
        wanted.into_iter().for_each(|entry| entries.take(&list, entry));
    }

    fn name(&self, role: FileRole) -> String {
        role.name(self.manifest.generation + 1)
    }

    fn header(&self, role: FileRole) -> FileHeader {
        FileHeader { kind: role.kind(), file_id: Random::new(self.options.identity, 0).at(role as u64) }
    }

    /// Writes the other files, and the manifest at last.
    fn publish(&self, disk: &dyn Disk, router: &Router, places: &[Place], heat: Vec<u32>) -> Result<()> {
        let create = |role| ExtentFileWriter::create(disk, &self.name(role), self.header(role));
        let mut writer = create(FileRole::Centroids)?;
        centroids::write(&mut writer, &self.index.space.mean, router)?;
        writer.sync()?;
        let mut writer = create(FileRole::Directory)?;
        let mut blob = BlobWriter::new(&mut writer, directory::EXTENT_KIND);
        places.iter().try_for_each(|place| blob.write(&place.encode()))?;
        blob.finish()?;
        writer.sync()?;
        let mut writer = create(FileRole::Calibration)?;
        let old = open_file(self.index.disk.as_ref(), &self.manifest, FileRole::Calibration)?;
        let measured = Calibration::read(&old, self.index.router.lists())?;
        Calibration { heat, ..measured }.write(&mut writer)?;
        writer.sync()?;
        disk.sync_dir()?;
        self.manifest(disk, router, places)?.publish(disk)
    }

    fn manifest(&self, disk: &dyn Disk, router: &Router, places: &[Place]) -> Result<Manifest> {
        let mut files = Vec::new();
        for role in [FileRole::Postings, FileRole::Centroids, FileRole::Directory, FileRole::Calibration] {
            let name = self.name(role);
            let bytes = disk.open(&name)?.len()?;
            files.push(ListedFile { role, name, file_id: self.header(role).file_id, bytes });
        }
        let sum = |of: fn(&Place) -> u64| places.iter().map(of).sum::<u64>();
        let entries = sum(|place| place.entries.into());
        let squares = sum(|place| u64::from(place.entries) * u64::from(place.entries));
        let most = |of: fn(&Place) -> u32| places.iter().map(of).max().unwrap_or(0);
        Ok(Manifest {
            generation: self.manifest.generation + 1,
            by_slot: false,
            rows: sum(|place| place.primaries.into()),
            lists: places.len() as u64,
            nodes: router.nodes.rows() as u64,
            entries,
            list_entries_max: most(|place| place.entries),
            list_bytes_max: most(|place| place.bytes),
            list_entries_weighted: squares as f64 / entries.max(1) as f64,
            files,
            ..self.manifest.clone()
        })
    }
}
