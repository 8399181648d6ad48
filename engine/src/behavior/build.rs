//! Epochs: made, built from the histories while another serves, dropped. The manifest has every step.

use std::sync::Arc;

use nearline_storage::{Pair, Table};

use super::BehaviorOptions;
use super::checkpoint::{is_due, with_older};
use super::compact::merges;
use super::epochs::Epochs;
use super::error::BehaviorError;
use super::files::Files;
use super::history::{Event, Events, History};
use super::manifest::{EPOCHS_MAX, Epoch, Kind, Made, Manifest, Stage};
use super::store::{Inner, locked};
use super::write::Writer;

/// Events, and users, that a step reads at most.
const STEP_EVENTS: u64 = 1 << 19;
const STEP_USERS: usize = 1 << 15;
/// The bytes of tables that wait for their file: so small a share of those that changes may take.
const STEP_SHARE: usize = 4;

/// A file and its number.
type Numbered = (u64, Arc<Table>);

/// What a step has made: tables by user, and where the next one begins.
pub(super) struct Step {
    tables: Vec<Pair>,
    next: Option<u64>,
}

impl Inner {
    /// Makes an epoch, which waits for its items. It counts by the embeddings of the one that serves if their name is the same.
    pub(super) fn create_epoch(&self, options: BehaviorOptions, keeps: bool) -> Result<u32, BehaviorError> {
        let mut epoch = options.epoch(self.store_id)?;
        let _alone = locked(&self.filing);
        let mut writer = locked(&self.writer);
        writer.check()?;
        let manifest = &writer.manifest;
        if let Some(made) = manifest.next_one() {
            let found = format!("epoch {} is being made", made.number);
            return Err(BehaviorError::bad("new epoch", found, "one at a time: build or drop it first"));
        }
        if manifest.epochs.len() >= EPOCHS_MAX {
            let expected = format!("fewer than {EPOCHS_MAX}: drop some that are kept");
            return Err(BehaviorError::bad("epochs", manifest.epochs.len(), expected));
        }
        let serving = Arc::clone(self.state().epochs.serving());
        epoch.number = manifest.next_epoch;
        epoch.of = epoch.number;
        if epoch.embedding_version == serving.embedding_version {
            epoch.of = serving.of;
            let (found, dim) = (epoch.shape().dim(), serving.shape().dim());
            if found != dim {
                let name = &serving.embedding_version;
                let expected =
                    format!("{dim}, as the embeddings {name:?} have; name others by embedding_version");
                return Err(BehaviorError::bad("dimensions", found, expected));
            }
        }
        epoch.write(&*self.disk)?;
        let mut next = writer.manifest.clone();
        next.next_epoch += 1;
        next.epochs.push(Made::new(epoch.number, epoch.of, Stage::Filling, keeps));
        let number = epoch.number;
        self.adopt(&mut writer, next, Some(epoch), |_| ())?;
        Ok(number)
    }

    /// From now on behaviours need an item in this epoch, too; steps build it.
    pub(super) fn begin_build(&self, number: u32) -> Result<(), BehaviorError> {
        // So that others wait for little below.
        self.flush()?;
        let _alone = locked(&self.filing);
        let mut writer = locked(&self.writer);
        writer.check()?;
        match writer.manifest.epoch(number).map(|made| made.stage) {
            Some(Stage::Building { .. }) => return Ok(()),
            Some(Stage::Filling) => {}
            _ => {
                return Err(BehaviorError::bad(
                    "epoch to build",
                    number,
                    "one that was made and does not serve",
                ));
            }
        }
        // What is built is what is in files: later behaviours are checked when they come.
        self.checkpoint(&mut writer)?;
        self.set_stage(&mut writer, number, Stage::Building { from: 0 })?;
        *locked(&self.build_error) = None;
        Ok(())
    }

    /// Drops an epoch that does not serve.
    pub(super) fn drop_epoch(&self, number: u32) -> Result<(), BehaviorError> {
        // So that others wait for little below.
        self.flush()?;
        let _alone = locked(&self.filing);
        let mut writer = locked(&self.writer);
        writer.check()?;
        match writer.manifest.epoch(number).map(|made| made.stage) {
            Some(Stage::Serving) => {
                return Err(BehaviorError::bad("epoch to drop", number, "one that does not serve"));
            }
            None | Some(Stage::Gone) => return self.state().epochs.answering(number).map(drop),
            Some(_) => {}
        }
        // The log must not need its planes any more.
        self.checkpoint(&mut writer)?;
        let mut next = writer.manifest.clone();
        next.drop_epoch(number);
        self.adopt(&mut writer, next, None, |_| ())
    }

    /// Builds some more of the epoch that is being built, which serves when that was all of it; false if there is none any
    /// more.
    pub(super) fn build_step(&self) -> Result<bool, BehaviorError> {
        let _alone = locked(&self.building);
        let (number, from) = {
            let writer = locked(&self.writer);
            match writer.manifest.next_one() {
                Some(&Made { number, stage: Stage::Building { from }, .. }) => (number, from),
                _ => return Ok(false),
            }
        };
        let epoch = self.state().epochs.get(number).map(|(epoch, _)| Arc::clone(epoch));
        let Some(epoch) = epoch else { return Ok(false) };
        match self.build_some(&epoch, from) {
            Ok(step) => self.publish(&epoch, step),
            Err(error @ BehaviorError::UnknownItem { .. }) => {
                let _alone = locked(&self.filing);
                let mut writer = locked(&self.writer);
                if is_building(&writer.manifest, number) {
                    self.set_stage(&mut writer, number, Stage::Filling)?;
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Works out tables of users from a number on.
    pub(super) fn build_some(&self, epoch: &Epoch, from: u64) -> Result<Step, BehaviorError> {
        let bytes_max = self.limits.dirty / STEP_SHARE;
        let (mut tables, mut bytes, mut events) = (Vec::new(), 0, 0);
        let (mut users, mut next) = (0, Some(from));
        while let Some(from) = next {
            if events > STEP_EVENTS || users > STEP_USERS || bytes > bytes_max {
                break;
            }
            let files = Arc::clone(&self.state().files);
            let Some(user) = files.user_from(from)? else {
                next = None;
                break;
            };
            let (history, files) = self.history(user)?;
            if let Some(table) = self.build_one(user, &history, &files, epoch)? {
                bytes += table.len();
                tables.push((user.to_be_bytes().to_vec(), table));
            }
            (users, events) = (users + 1, events + history.len());
            next = user.checked_add(1);
        }
        Ok(Step { tables, next })
    }

    /// The table of a user, if it belongs into a file. All items of the history are there in the epoch.
    fn build_one(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        epoch: &Epoch,
    ) -> Result<Option<Vec<u8>>, BehaviorError> {
        let (is_due, has_items) = (is_due(history, epoch, 0), !epoch.is_signer());
        if !is_due && has_items {
            return Ok(None);
        }
        let stored = Arc::new(files.events(user, history, 0, self.first)?);
        let events = Events { stored, history: Arc::clone(history) };
        if !has_items {
            let all: Vec<&Event> = events.from(0).collect();
            self.each_embedding(&all, epoch, |_, _| Ok(()))?;
        }
        let Some(last) = history.last_time().filter(|_| is_due) else { return Ok(None) };
        let (mut tallied, _) = self.tally_from(events, (epoch, epoch.cutoff(last)), None)?;
        files.unsettle(user, &mut tallied);
        Ok(Some(tallied.into_kept(epoch).encode()))
    }

    /// Writes what a step made and notes in the manifest how far the build is; after the last step the epoch serves.
    pub(super) fn publish(&self, epoch: &Epoch, step: Step) -> Result<bool, BehaviorError> {
        let (file, replaced) = match step.tables.is_empty() {
            true => (None, 0),
            false => self.write_step(epoch, step.tables)?,
        };
        if step.next.is_none() {
            // So that others wait for little below.
            self.flush()?;
        }
        let _alone = locked(&self.filing);
        let mut writer = locked(&self.writer);
        writer.check()?;
        if !is_building(&writer.manifest, epoch.number) {
            // It was dropped meanwhile. A file that stays now goes when the space opens.
            file.into_iter().for_each(|(number, _)| drop(self.disk.remove(&Kind::Tables.name(number))));
            return Ok(false);
        }
        if step.next.is_none() {
            // The log must not need the planes of the epoch that goes.
            self.checkpoint(&mut writer)?;
        }
        let mut next = writer.manifest.clone();
        if let Some(numbers) = next.numbers_mut(Kind::Tables, epoch.number) {
            numbers.truncate(numbers.len() - replaced);
            numbers.extend(file.iter().map(|(number, _)| *number));
        }
        let stage = step.next.map_or(Stage::Serving, |from| Stage::Building { from });
        if stage == Stage::Serving {
            retire(&mut next, epoch.number);
        }
        if let Some(made) = next.epoch_mut(epoch.number) {
            made.stage = stage;
        }
        self.adopt(&mut writer, next, None, |files| {
            let tables = files.of(Kind::Tables, epoch.number);
            tables.truncate(tables.len() - replaced);
            tables.extend(file.map(|(_, table)| table));
        })?;
        *locked(&self.build_error) = None;
        Ok(stage != Stage::Serving)
    }

    /// Writes tables into a file, those of as many older ones with them as is said. Nobody else writes such files of an epoch
    /// that does not serve.
    fn write_step(
        &self,
        epoch: &Epoch,
        tables: Vec<Pair>,
    ) -> Result<(Option<Numbered>, usize), BehaviorError> {
        let number = {
            let _alone = locked(&self.filing);
            let mut writer = locked(&self.writer);
            let number = writer.manifest.next_number;
            writer.manifest.next_number += 1;
            number
        };
        let mut live = (*self.state().files).clone();
        let older = live.of(Kind::Tables, epoch.number);
        let gone = older.split_off(older.len() - merges(older, false));
        let pairs = with_older(Box::new(tables.into_iter().map(Ok)), &gone, older.is_empty());
        let table = self.write_table(Kind::Tables, number, pairs);
        let table = table.inspect_err(|_| drop(self.disk.remove(&Kind::Tables.name(number))))?;
        // The manifest must not be found without the file.
        self.disk.sync_dir()?;
        Ok((Some((number, table)), gone.len()))
    }

    fn set_stage(&self, writer: &mut Writer, number: u32, stage: Stage) -> Result<(), BehaviorError> {
        let mut next = writer.manifest.clone();
        if let Some(made) = next.epoch_mut(number) {
            made.stage = stage;
        }
        self.adopt(writer, next, None, |_| ())
    }

    /// Writes a manifest, which then is what is live; files that it does not name any more are removed.
    fn adopt(
        &self,
        writer: &mut Writer,
        next: Manifest,
        new: Option<Epoch>,
        change: impl FnOnce(&mut Files),
    ) -> Result<(), BehaviorError> {
        next.write(&*self.disk)?;
        let old = std::mem::replace(&mut writer.manifest, next);
        {
            let mut state = self.state_mut();
            let known = state.epochs.all.iter().map(|(epoch, _)| Arc::clone(epoch)).chain(new.map(Arc::new));
            let known: Vec<Arc<Epoch>> = known.collect();
            let find =
                |made: &Made| Some((known.iter().find(|one| one.number == made.number)?.clone(), made.stage));
            state.epochs = Arc::new(Epochs { all: writer.manifest.epochs.iter().filter_map(find).collect() });
            let mut files = (*state.files).clone();
            files.generation += 1;
            change(&mut files);
            files.items.retain(|&number, _| writer.manifest.epoch(number).is_some());
            let has_tables =
                |number| writer.manifest.epoch(number).is_some_and(|made| made.stage != Stage::Gone);
            files.tables.retain(|&number, _| has_tables(number));
            state.files = Arc::new(files);
        }
        self.remove_old(&old, &writer.manifest);
        Ok(())
    }
}

/// Takes the one that serves out, or keeps it, for an epoch that is to serve.
fn retire(manifest: &mut Manifest, number: u32) {
    let keeps = manifest.epoch(number).is_some_and(|made| made.keeps);
    let serving = manifest.epochs.iter_mut().find(|made| made.stage == Stage::Serving);
    if let Some(serving) = serving {
        serving.stage = Stage::Kept;
        let old = serving.number;
        if !keeps {
            manifest.drop_epoch(old);
        }
    }
}

fn is_building(manifest: &Manifest, number: u32) -> bool {
    manifest.epoch(number).is_some_and(|made| matches!(made.stage, Stage::Building { .. }))
}
