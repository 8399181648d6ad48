//! Measuring with real questions how widely a vector index must be searched, and keeping them.

use nearline_index::{Measured, Widen, measure_questions};

use super::{Collection, Inner, locked};
use crate::error::WriteError;
use crate::point::Vector;
use crate::questions::{Questions, QuestionsInfo, wrong};
use crate::schema::VectorConfig;
use crate::state::State;
use crate::vector_index::{Listed, VectorIndexInfo};

/// What was measured with questions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CalibrationReport {
    /// Questions that are kept, and were measured with.
    pub questions: usize,
    /// Neighbours wanted of each.
    pub k: usize,
    /// What was found, for each recall that has a factor of its own; nothing where there is no vector index yet. It is measured then
    /// when it is built.
    pub targets: Vec<Measured>,
}

impl Collection {
    /// Measures with real questions how widely the vector index of a name must be searched for recalls of 0.9, 0.95 and
    /// 0.99, by comparing with the exact answers, and searches it so from now on, also after it was opened anew.
    ///
    /// Without that, some of the vectors stand in for questions. Where those that are asked are unlike them, as texts that
    /// ask are unlike texts that answer, a search finds less than it is meant to.
    ///
    /// [`QUESTIONS_MIN`](crate::QUESTIONS_MIN) are needed at least. [`QUESTIONS_MAX`](crate::QUESTIONS_MAX) of them are kept,
    /// in place of those that were, fewer if they take more than 16 MiB: it is measured with them again whenever the index has
    /// changed so much that it must be, or is built anew. `k` neighbours are wanted; the factors that are found are used for any
    /// number, so it is best to say the one that will be asked for. Questions without a filter say something of those with one, too: those are widened by the same factors.
    ///
    /// This reads all vectors once and asks each question some ten times; meanwhile no index of any collection is built,
    /// written anew or added to, and writers may have to wait for that.
    /// Points that are in no list yet are left out: they are compared anyway.
    ///
    /// # Errors
    /// When there are no vectors of the name or no lists can be made of them, questions are too few or no such vectors, `k` is
    /// out of range, or the disk fails; what was known before counts then.
    pub fn calibrate<V: Into<Vector>>(
        &self,
        name: &str,
        questions: impl IntoIterator<Item = V>,
        k: usize,
    ) -> Result<CalibrationReport, WriteError> {
        let inner = &self.shared.inner;
        let (at, config) = inner.with_lists(name)?;
        let questions = Questions::new(&config, questions, k)?;
        let _permit = inner.permit();
        loop {
            let state = inner.state();
            let listed = state.indexes.get(at).and_then(Option::as_ref);
            let targets = match listed {
                Some(listed) => measured_by(&state, listed, &questions, &|| inner.is_closing())?,
                None => Vec::new(),
            };
            if inner.keep_questions(at, &questions, listed, &targets)? {
                return Ok(CalibrationReport { questions: questions.len(), k, targets });
            }
        }
    }
}

impl Collection {
    /// How many questions are kept, for the vectors of all names ([`Collection::calibrate`]).
    pub fn kept_questions(&self) -> u64 {
        let files = locked(&self.shared.inner.files);
        files.manifest.questions.iter().map(|questions| u64::from(questions.count)).sum()
    }

    /// Forgets questions whose file is damaged or missing; what was measured with them stays.
    pub(crate) fn forget_damaged_questions(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        let mut files = locked(&inner.files);
        let (disk, store_id, mut next) =
            (inner.disk.as_ref(), files.manifest.store_id, files.manifest.clone());
        let is_damaged = |info: &QuestionsInfo| {
            let config = inner.schema.config(info.at);
            config.is_none_or(|config| Questions::read(disk, store_id, info, config).is_err())
        };
        let damaged = next.questions.extract_if(.., |info| is_damaged(info));
        let old: Vec<String> = damaged.map(|info| info.file()).collect();
        if !old.is_empty() {
            inner.tidying(&mut files, |files| inner.adopt(files, next))?;
            inner.remove(&mut files, &old);
        }
        Ok(())
    }
}

impl Inner {
    fn with_lists(&self, name: &str) -> Result<(usize, VectorConfig), WriteError> {
        let Some((at, config)) = self.schema.find(name) else {
            let expected = format!("one of the collection's: {}", self.schema.names());
            return Err(wrong("name of vectors", format!("{name:?}"), expected));
        };
        if !config.metric.has_lists() {
            let expected = "vectors that an index is made of; these are all compared, exactly".to_owned();
            return Err(wrong("distance", config.metric.to_string(), expected));
        }
        Ok((at, *config))
    }

    /// The questions that are kept for the vectors of a name. Damaged ones are as good as none: [`Collection::verify`] tells.
    pub(super) fn questions(&self, at: usize) -> Option<Questions> {
        let (info, store_id) = {
            let files = locked(&self.files);
            let info = files.manifest.questions.iter().find(|questions| questions.at == at)?;
            (info.clone(), files.manifest.store_id)
        };
        Questions::read(self.disk.as_ref(), store_id, &info, self.schema.config(at)?).ok()
    }

    /// Makes questions those that are kept, and what they say of an index known. False if another index took its place
    /// meanwhile: then nothing is changed.
    fn keep_questions(
        &self,
        at: usize,
        questions: &Questions,
        listed: Option<&Listed>,
        targets: &[Measured],
    ) -> Result<bool, WriteError> {
        let mut files = locked(&self.files);
        let of = |listed: &Listed| listed.index.info.number;
        let there = self.state().indexes.get(at).and_then(Option::as_ref).map(of);
        if there != listed.map(of) {
            return Ok(false);
        }
        let number = files.take_number();
        let old = self.tidying(&mut files, |files| {
            let info = questions.write(self.disk.as_ref(), files.manifest.store_id, (number, at))?;
            let mut next = files.manifest.clone();
            let old = next.questions.extract_if(.., |questions| questions.at == at);
            let old: Vec<String> = old.map(|questions| questions.file()).collect();
            next.questions.push(info);
            let known = listed.map(|listed| {
                let (info, before) = (listed.index.info.clone(), listed.live.widen);
                let widen = widen_of(targets, before);
                // That other questions are harder does not make the index worse than it was when it was built.
                let built_widen = info.built_widen.rescaled(&before, &widen);
                VectorIndexInfo { widen, built_widen, measured_rows: listed.rows(), ..info }
            });
            for info in next.indexes.iter_mut().filter(|info| info.at == at) {
                *info = known.clone().unwrap_or_else(|| info.clone());
            }
            self.adopt(files, next)?;
            self.change(|state| {
                if let (Some(known), Some(listed)) =
                    (known, state.indexes.get_mut(at).and_then(Option::as_mut))
                {
                    listed.live.widen = known.widen;
                    listed.index = listed.index.known_as(known).into();
                }
            });
            Ok(old)
        })?;
        self.remove(&mut files, &old);
        Ok(true)
    }
}

/// How well an index answers questions.
pub(super) fn measured_by(
    state: &State,
    listed: &Listed,
    questions: &Questions,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Measured>, WriteError> {
    let is_out = |row| row > listed.last || state.is_dead(row);
    let asked = (&*questions.bytes, questions.k);
    Ok(measure_questions(&listed.index.index, &listed.live, asked, &is_out, is_cancelled)?)
}

/// The factors that were found, or those that there were if there was nothing to be found.
pub(super) fn widen_of(measured: &[Measured], before: Widen) -> Widen {
    let mut factors = before.factors();
    factors.iter_mut().zip(measured).for_each(|(factor, measured)| *factor = measured.factor);
    Widen::new(factors)
}
