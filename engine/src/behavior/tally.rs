//! Working out tables of buckets: from one that is kept or in a file, or from all behaviours.

use std::sync::Arc;

use nearline_index::sdim::BucketTable;

use super::TableValues;
use super::error::BehaviorError;
use super::files::Files;
use super::history::{Embedding, Event, Events, History};
use super::manifest::Epoch;
use super::record::embed;
use super::store::Inner;
use super::tallied::{Sums, Tallied};

/// Behaviours whose vectors are looked up at a time.
const CHUNK: usize = 1024;
/// Tables of histories so many times shorter than a table has rows are not kept: adding up is as fast as finding them.
const SHORT: u64 = 4;

impl Inner {
    /// The table, in an epoch, of the events of a history from a time on; `None` if there is none.
    pub(super) fn tally(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        (epoch, cutoff): (&Epoch, i64),
    ) -> Result<Option<Arc<Tallied>>, BehaviorError> {
        if history.last_time().is_none_or(|last| last < cutoff) {
            return Ok(None);
        }
        let kept = self.tables.get((epoch.number, user)).filter(|kept| kept.is_of(history));
        if let Some(kept) = &kept
            && kept.version == history.version
            && kept.begins_at(cutoff)
        {
            return Ok(Some(Arc::clone(kept)));
        }
        let kept = kept.or_else(|| {
            let read = Arc::new(files.table(user, history, epoch)?);
            if epoch.values == TableValues::F16 {
                self.keep_table(user, epoch, history, &read);
            }
            Some(read)
        });
        let kept =
            kept.filter(|kept| epoch.values == TableValues::F64 || is_near(history.len(), kept.end, epoch));
        let (mut tallied, is_anew) = match kept {
            Some(kept) if kept.begins_at(cutoff) => {
                (self.tally_behind(user, history, files, epoch, kept)?, false)
            }
            kept => {
                let events = self.events(user, history, files)?;
                let (tallied, is_anew) = self.tally_from(events, (epoch, cutoff), kept)?;
                (Arc::new(if is_anew { tallied.into_kept(epoch) } else { tallied }), is_anew)
            }
        };
        files.unsettle(user, Arc::make_mut(&mut tallied));
        // Copies are not made of copies: what is off stays within one rounding.
        if is_anew || epoch.values == TableValues::F64 {
            self.keep_table(user, epoch, history, &tallied);
        }
        Ok(Some(tallied))
    }

    fn keep_table(&self, user: u64, epoch: &Epoch, history: &History, tallied: &Arc<Tallied>) {
        if history.len() * SHORT >= rows(epoch) {
            self.tables.insert((epoch.number, user), Arc::clone(tallied), tallied.ram_bytes());
        }
    }

    /// The table of a history as whoever asks soon after its last event will want it. Where it cannot be worked out it is
    /// when it is asked for, and whoever asks is told why.
    pub(super) fn tally_last(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        epoch: &Epoch,
    ) -> Option<Tallied> {
        let cutoff = epoch.cutoff(history.last_time()?);
        let tallied = self.tally(user, history, files, (epoch, cutoff)).ok().flatten()?;
        if epoch.values == TableValues::F64 || matches!(tallied.table, Sums::Half(_)) {
            return Some(tallied.settled());
        }
        let events = self.events(user, history, files).ok()?;
        let (tallied, _) = self.tally_from(events, (epoch, cutoff), None).ok()?;
        Some(tallied.into_kept(epoch).settled())
    }

    /// An older table that begins where it should, with what came since.
    fn tally_behind(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        epoch: &Epoch,
        kept: Arc<Tallied>,
    ) -> Result<Arc<Tallied>, BehaviorError> {
        let came = self.events_from(user, history, files, kept.end as u64)?;
        let (first, edge) = (kept.first, kept.edge());
        let mut table = Arc::unwrap_or_clone(kept).table.into_widened();
        self.add(&mut table, &came.iter().collect::<Vec<_>>(), epoch)?;
        Ok(Arc::new(Tallied::new(history, first, edge, table)))
    }

    /// A table of events from a time on, made of an older one where that gives the bits of a table made anew, or is near enough to
    /// one in `f16`; and whether it was made anew.
    pub(super) fn tally_from(
        &self,
        events: Events,
        (epoch, cutoff): (&Epoch, i64),
        kept: Option<Arc<Tallied>>,
    ) -> Result<(Tallied, bool), BehaviorError> {
        let first = events.before(cutoff);
        let older =
            kept.map(|kept| self.without_expired(&kept, &events, first, epoch)).transpose()?.flatten();
        let is_anew = older.is_none();
        let table = match older {
            Some(table) => table,
            None => {
                let mut table = BucketTable::new(epoch.shape());
                self.add(&mut table, &events.from(first).collect::<Vec<_>>(), epoch)?;
                table
            }
        };
        let before = first.checked_sub(1).and_then(|at| events.from(at).next()).map(|event| event.time);
        let from = events.from(first).next().map_or(cutoff, |event| event.time);
        Ok((Tallied::new(&events.history, first, (before, from), table), is_anew))
    }

    /// A table made of an older one: what expired since is taken out, what came is added. `None` where that would not give
    /// the bits of a table made anew: if the clock went back, or if sums were rounded.
    fn without_expired(
        &self,
        kept: &Tallied,
        events: &Events,
        first: usize,
        epoch: &Epoch,
    ) -> Result<Option<BucketTable>, BehaviorError> {
        if first < kept.first || first > kept.end {
            return Ok(None);
        }
        let is_near = epoch.values == TableValues::F16 && is_near(first as u64, kept.first, epoch);
        let mut table = kept.table.widened().into_owned();
        let expired: Vec<&Event> = events.from(kept.first).take(first - kept.first).collect();
        self.each_embedding(&expired, epoch, |_, embedding| {
            Ok(table.remove(&embedding.vector, &embedding.signature)?)
        })?;
        self.add(&mut table, &events.from(kept.end).collect::<Vec<_>>(), epoch)?;
        Ok((expired.is_empty() || table.is_exact() || is_near).then_some(table))
    }

    fn add(&self, table: &mut BucketTable, events: &[&Event], epoch: &Epoch) -> Result<(), BehaviorError> {
        self.each_embedding(events, epoch, |_, embedding| {
            Ok(table.add(&embedding.vector, &embedding.signature)?)
        })
    }

    /// Calls with each event and its embedding in an epoch, in their order; some at a time are looked up together. In an epoch
    /// that is only kept, events whose items nobody gave it vectors of do not count.
    pub(super) fn each_embedding<'e>(
        &self,
        events: &[&'e Event],
        epoch: &Epoch,
        mut each: impl FnMut(&'e Event, &Embedding) -> Result<(), BehaviorError>,
    ) -> Result<(), BehaviorError> {
        let is_past = !self.state().epochs.takes_items(epoch.of);
        for events in events.chunks(CHUNK) {
            let own: Vec<Arc<Embedding>> =
                events.iter().filter_map(|event| event.own_of(epoch.of)).cloned().collect();
            let mut own = signed(own, epoch)?.into_iter();
            let by_item = events.iter().filter(|event| event.own_of(epoch.of).is_none());
            let items: Vec<u64> = by_item.map(|event| event.item).collect();
            let found = match is_past {
                true => self.find_embeddings(&items, epoch)?,
                false => self.embeddings(&items, epoch)?.into_iter().map(Some).collect(),
            };
            let mut found = found.into_iter();
            for event in events {
                let one = if event.own_of(epoch.of).is_some() { own.next() } else { found.next().flatten() };
                one.map_or(Ok(()), |embedding| each(event, &embedding))?;
            }
        }
        Ok(())
    }
}

/// Rows of a table.
fn rows(epoch: &Epoch) -> u64 {
    (epoch.shape().groups() * epoch.shape().buckets()) as u64
}

/// Whether so few events changed since a copy was made that it need not be made anew.
fn is_near(now: u64, then: usize, epoch: &Epoch) -> bool {
    now.saturating_sub(then as u64) < 2 * rows(epoch)
}

/// Embeddings with signatures by the planes of an epoch, which counts by them.
fn signed(mut stored: Vec<Arc<Embedding>>, epoch: &Epoch) -> Result<Vec<Arc<Embedding>>, BehaviorError> {
    if !epoch.is_signer() && !stored.is_empty() {
        let vectors: Vec<f32> =
            stored.iter().flat_map(|embedding| embedding.vector.iter().copied()).collect();
        stored = embed(&epoch.family, &vectors)?;
    }
    Ok(stored)
}
