//! Working out tables of buckets: from one that is kept or in a file, or from all behaviours.

use std::sync::Arc;

use nearline_index::sdim::BucketTable;

use super::error::BehaviorError;
use super::files::Files;
use super::history::{Embedding, Event, Events, History};
use super::store::Inner;
use super::tallied::Tallied;

/// Behaviours whose vectors are looked up at a time.
const CHUNK: usize = 1024;
/// Tables of histories so many times shorter than a table has rows are not kept: adding up is as fast as finding them.
const SHORT: u64 = 4;

impl Inner {
    /// The table of the events of a history from a time on; `None` if there is none.
    pub(super) fn tally(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        cutoff: i64,
    ) -> Result<Option<Arc<Tallied>>, BehaviorError> {
        if history.last_time().is_none_or(|last| last < cutoff) {
            return Ok(None);
        }
        let kept = self.tables.get(user).filter(|kept| kept.is_of(history));
        if let Some(kept) = &kept
            && kept.version == history.version
            && kept.begins_at(cutoff)
        {
            return Ok(Some(Arc::clone(kept)));
        }
        let kept = kept.or_else(|| files.table(user, history, &self.epoch).map(Arc::new));
        let tallied = match kept {
            Some(kept) if kept.begins_at(cutoff) => self.tally_behind(user, history, files, kept)?,
            kept => Arc::new(self.tally_from(self.events(user, history, files)?, cutoff, kept)?),
        };
        let shape = self.epoch.family.shape();
        if history.len() * SHORT >= (shape.groups() * shape.buckets()) as u64 {
            self.tables.insert(user, Arc::clone(&tallied), tallied.ram_bytes());
        }
        Ok(Some(tallied))
    }

    /// The table of a history as whoever asks soon after its last event will want it. Where it cannot be worked out it is
    /// when it is asked for, and whoever asks is told why.
    pub(super) fn tally_last(&self, user: u64, history: &Arc<History>, files: &Files) -> Option<Tallied> {
        let cutoff = self.epoch.cutoff(history.last_time()?);
        let tallied = self.tally(user, history, files, cutoff).ok().flatten()?;
        Some(tallied.settled())
    }

    /// An older table that begins where it should, with what came since.
    fn tally_behind(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        kept: Arc<Tallied>,
    ) -> Result<Arc<Tallied>, BehaviorError> {
        let came = self.events_from(user, history, files, kept.end as u64)?;
        let (first, edge) = (kept.first, kept.edge());
        let mut table = Arc::unwrap_or_clone(kept).table;
        self.add(&mut table, &came.iter().collect::<Vec<_>>())?;
        Ok(Arc::new(Tallied::new(history, first, edge, table)))
    }

    /// A table of events from a time on, made of an older one where that gives the bits of a table made anew.
    fn tally_from(
        &self,
        events: Events,
        cutoff: i64,
        kept: Option<Arc<Tallied>>,
    ) -> Result<Tallied, BehaviorError> {
        let first = events.before(cutoff);
        let table = match kept.map(|kept| self.without_expired(&kept, &events, first)).transpose()?.flatten()
        {
            Some(table) => table,
            None => {
                let mut table = BucketTable::new(self.epoch.family.shape());
                self.add(&mut table, &events.from(first).collect::<Vec<_>>())?;
                table
            }
        };
        let before = first.checked_sub(1).and_then(|at| events.from(at).next()).map(|event| event.time);
        let from = events.from(first).next().map_or(cutoff, |event| event.time);
        Ok(Tallied::new(&events.history, first, (before, from), table))
    }

    /// A table made of an older one: what expired since is taken out, what came is added. `None` where that would not give
    /// the bits of a table made anew: if the clock went back, or if sums were rounded.
    fn without_expired(
        &self,
        kept: &Tallied,
        events: &Events,
        first: usize,
    ) -> Result<Option<BucketTable>, BehaviorError> {
        if first < kept.first || first > kept.end {
            return Ok(None);
        }
        let mut table = kept.table.clone();
        let expired: Vec<&Event> = events.from(kept.first).take(first - kept.first).collect();
        self.each_embedding(
            &expired,
            |embedding| Ok(table.remove(&embedding.vector, &embedding.signature)?),
        )?;
        self.add(&mut table, &events.from(kept.end).collect::<Vec<_>>())?;
        Ok((expired.is_empty() || table.is_exact()).then_some(table))
    }

    fn add(&self, table: &mut BucketTable, events: &[&Event]) -> Result<(), BehaviorError> {
        self.each_embedding(events, |embedding| Ok(table.add(&embedding.vector, &embedding.signature)?))
    }

    /// Calls with the embedding of each event, in their order; some at a time are looked up together.
    pub(super) fn each_embedding(
        &self,
        events: &[&Event],
        mut each: impl FnMut(&Embedding) -> Result<(), BehaviorError>,
    ) -> Result<(), BehaviorError> {
        for events in events.chunks(CHUNK) {
            let items = events.iter().filter(|event| event.inline.is_none()).map(|event| event.item);
            let mut found = self.embeddings(&items.collect::<Vec<_>>())?.into_iter();
            for event in events {
                if let Some(embedding) = event.inline.clone().or_else(|| found.next()) {
                    each(&embedding)?;
                }
            }
        }
        Ok(())
    }
}
