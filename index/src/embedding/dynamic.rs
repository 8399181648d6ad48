//! Rows of ids that come and go: any number is an id, a row is made once its id was seen often enough, and goes when nobody has
//! written to it for long.

use std::collections::{HashMap, HashSet};

use crate::error::{IndexError, Result};
use crate::vector::DIM_MAX;

use super::gradients::Gradients;
use super::optimizer::{Rule, move_row};
use super::segment::{Segment, Segments, SizeReport};
use super::table::{Method, Table};
use super::{check_finite, check_len};

/// Ids that are counted but have no row, for each row that may be.
const SEEN_PER_ROW: u64 = 4;
/// Numbers of `u32` that a stamp has in a segment, and what is known of an id without a row.
const STAMP_WORDS: usize = 4;
const SEEN_WORDS: usize = 7;
/// Parameters of such a table.
const PARAMS: usize = 11;
/// Every so many writes, what has expired goes.
const SWEEP: u64 = 64;
/// Bytes of a row beside its values and what the optimizer remembers: id, place, stamp, and ids that are only counted.
const ROW_OVERHEAD: u64 = 8 + 32 + 16 + SEEN_PER_ROW * 64;

/// When rows come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicRules {
    /// How often an id is seen in training before it has a row of its own; until then it has the shared one.
    pub admit_after: u32,
    /// Writes after which a row nobody wrote to has expired; 0: none does.
    pub expire_writes: u64,
    /// Seconds after which it has; 0: none does.
    pub expire_seconds: u64,
    /// Rows at most: ids that come later share.
    pub rows_max: u64,
}

/// When something was written to last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    write: u64,
    seconds: u64,
}

/// A table of rows by any id but `u64::MAX`, trained in place. Ids without a row have one they share, which learns from all of
/// them, and which their own row begins with.
///
/// The same writes in the same order give the same bits, however ids are spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    dim: usize,
    rules: DynamicRules,
    rule: Rule,
    /// Writes so far, and the latest time of one.
    now: Stamp,
    /// The row that ids without one have, and what the optimizer remembers of it.
    shared: Vec<f32>,
    shared_state: Vec<f32>,
    /// Where the row of an id is among the following.
    places: HashMap<u64, u32>,
    ids: Vec<u64>,
    /// `[row][dimension]`.
    own: Vec<f32>,
    /// `[row][what the optimizer remembers]`.
    state: Vec<f32>,
    stamps: Vec<Stamp>,
    /// How often ids without a row were seen.
    seen: HashMap<u64, (u32, Stamp)>,
}

impl Dynamic {
    /// A table without rows. Ids have `shared` until they have their own.
    ///
    /// # Errors
    /// When there are no dimensions or too many, no row may be or more than 2³², a value of the shared row is no number, or a
    /// constant of the rule cannot be.
    pub fn new(shared: Vec<f32>, rules: DynamicRules, rule: Rule) -> Result<Self> {
        let dim = shared.len();
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(IndexError::option("dimensions", dim, format!("1 to {DIM_MAX}")));
        }
        if !(1..=u64::from(u32::MAX)).contains(&rules.rows_max) {
            return Err(IndexError::option("rows", rules.rows_max, format!("1 to {}", u32::MAX)));
        }
        check_finite("shared row", dim, &shared)?;
        rule.check()?;
        Ok(Self {
            dim,
            rules,
            rule,
            now: Stamp::default(),
            shared_state: vec![0.0; rule.state_width(dim)],
            shared,
            places: HashMap::new(),
            ids: Vec::new(),
            own: Vec::new(),
            state: Vec::new(),
            stamps: Vec::new(),
            seen: HashMap::new(),
        })
    }

    /// Bytes of memory that a row of so many values takes at most.
    pub fn row_bytes(dim: usize, rule: Rule) -> u64 {
        (dim as u64 + rule.state_width(dim) as u64) * 4 + ROW_OVERHEAD
    }

    /// When rows come and go.
    pub fn rules(&self) -> DynamicRules {
        self.rules
    }

    /// How rows move.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Rows that ids have of their own.
    pub fn own_rows(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Ids with a row of their own, in no order.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Refuses ids and values that cannot be written.
    ///
    /// # Errors
    /// When they do not fit, an id is `u64::MAX`, or a value is no number.
    pub fn check(&self, name: &str, ids: &[u64], values: &[f32]) -> Result<()> {
        super::table::check_ids(ids, self.rows())?;
        check_len(name, values.len(), ids.len() * self.dim)?;
        check_finite(name, self.dim, values)
    }

    /// Whether all of these ids have a row or can be given one.
    pub fn has_room_for(&self, ids: &[u64]) -> bool {
        let new: HashSet<u64> = ids.iter().copied().filter(|id| !self.places.contains_key(id)).collect();
        new.len() as u64 <= self.rules.rows_max.saturating_sub(self.own_rows())
    }

    /// Writes rows anew, at a time in seconds; ids without a row have one then, if there is room.
    ///
    /// # Errors
    /// As [`Dynamic::check`]. Nothing has changed then.
    pub fn put(&mut self, ids: &[u64], values: &[f32], seconds: u64) -> Result<()> {
        self.check("rows to put", ids, values)?;
        self.tick(seconds);
        for (&id, values) in ids.iter().zip(values.chunks_exact(self.dim)) {
            if let Some(place) = self.place(id).or_else(|| self.admit(id)) {
                self.own[place * self.dim..][..self.dim].copy_from_slice(values);
                self.stamps[place] = self.now;
            }
        }
        self.sweep();
        Ok(())
    }

    /// A step of training, at a time in seconds: gradients of one id are added up in their order, then rows move in the order of
    /// their ids, the shared one last.
    ///
    /// # Errors
    /// As [`Dynamic::check`]. Nothing has changed then.
    pub fn train(&mut self, ids: &[u64], gradients: &[f32], seconds: u64) -> Result<()> {
        self.check("gradients", ids, gradients)?;
        self.tick(seconds);
        let mut by_id = Gradients::default();
        let mut times: HashMap<u64, u32> = HashMap::new();
        for (&id, gradient) in ids.iter().zip(gradients.chunks_exact(self.dim)) {
            by_id.push(0, id, gradient.iter().copied());
            *times.entry(id).or_default() += 1;
        }
        by_id.coalesce();
        let mut of_shared: Option<Vec<f32>> = None;
        for (_, id, gradient) in by_id.iter() {
            let place = self.place(id).or_else(|| self.sight(id, times.get(&id).copied().unwrap_or(1)));
            match place {
                Some(place) => self.step(place, gradient),
                None => {
                    let sum = of_shared.get_or_insert_with(|| vec![0.0; self.dim]);
                    sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
                }
            }
        }
        if let Some(gradient) = of_shared {
            move_row(self.rule, self.now.write, &mut self.shared, &gradient, &mut self.shared_state);
        }
        self.sweep();
        Ok(())
    }

    /// Removes the rows that have expired by now, which is the last write and the latest time; gives their number. Ids that
    /// were only seen are forgotten likewise. Nobody needs to call it: every 64th write does the same.
    pub fn expire(&mut self) -> u64 {
        let (rules, now) = (self.rules, self.now);
        let has_expired = |stamp: &Stamp| {
            let since = |limit: u64, from: u64, to: u64| limit > 0 && to.saturating_sub(from) > limit;
            since(rules.expire_writes, stamp.write, now.write)
                || since(rules.expire_seconds, stamp.seconds, now.seconds)
        };
        self.seen.retain(|_, (_, stamp)| !has_expired(stamp));
        let before = self.ids.len();
        for place in (0..before).rev() {
            if has_expired(&self.stamps[place]) {
                self.remove(place);
            }
        }
        (before - self.ids.len()) as u64
    }

    fn sweep(&mut self) {
        if self.is_due() {
            self.expire();
        }
    }

    /// Whether rows may have expired that are to go with this write. Where none ever do, nobody looks at all of them.
    fn is_due(&self) -> bool {
        let expires = self.rules.expire_writes > 0 || self.rules.expire_seconds > 0;
        expires && self.now.write.is_multiple_of(SWEEP)
    }

    fn tick(&mut self, seconds: u64) {
        self.now = Stamp { write: self.now.write + 1, seconds: self.now.seconds.max(seconds) };
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.places.get(&id).map(|&place| place as usize)
    }

    /// Counts an id that has no row; gives its place if it has one now.
    fn sight(&mut self, id: u64, times: u32) -> Option<usize> {
        let most = self.rules.rows_max.saturating_mul(SEEN_PER_ROW);
        let is_full = self.seen.len() as u64 >= most;
        let before = self.seen.get(&id).map_or(0, |(count, _)| *count);
        let count = before.saturating_add(times);
        if count >= self.rules.admit_after {
            return self.admit(id);
        }
        if before > 0 || !is_full {
            self.seen.insert(id, (count, self.now));
        }
        None
    }

    /// Gives an id a row, which begins as the shared one; none if there is no room.
    fn admit(&mut self, id: u64) -> Option<usize> {
        if self.own_rows() >= self.rules.rows_max {
            return None;
        }
        let place = self.ids.len();
        self.seen.remove(&id);
        self.places.insert(id, place as u32);
        self.ids.push(id);
        self.own.extend_from_slice(&self.shared);
        self.state.resize(self.state.len() + self.shared_state.len(), 0.0);
        self.stamps.push(self.now);
        Some(place)
    }

    fn step(&mut self, place: usize, gradient: &[f32]) {
        let width = self.shared_state.len();
        let row = &mut self.own[place * self.dim..][..self.dim];
        move_row(self.rule, self.now.write, row, gradient, &mut self.state[place * width..][..width]);
        self.stamps[place] = self.now;
    }

    /// Removes a row; the last one takes its place.
    fn remove(&mut self, place: usize) {
        let (last, width) = (self.ids.len() - 1, self.shared_state.len());
        self.places.remove(&self.ids[place]);
        self.ids.swap_remove(place);
        self.stamps.swap_remove(place);
        self.own.copy_within(last * self.dim.., place * self.dim);
        self.own.truncate(last * self.dim);
        self.state.copy_within(last * width.., place * width);
        self.state.truncate(last * width);
        if let Some(&moved) = self.ids.get(place) {
            self.places.insert(moved, place as u32);
        }
    }

    /// What is stored, the numbers of `u64` as pairs of `u32`.
    fn words(&self) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let stamp = |stamp: &Stamp| halves(stamp.write).into_iter().chain(halves(stamp.seconds));
        let ids = self.ids.iter().flat_map(|&id| halves(id)).collect();
        let stamps = self.stamps.iter().flat_map(stamp).collect();
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort_unstable_by_key(|(id, _)| **id);
        let seen = seen.into_iter();
        let seen =
            seen.flat_map(|(&id, (count, at))| halves(id).into_iter().chain([*count]).chain(stamp(at)));
        (ids, stamps, seen.collect())
    }

    pub(super) fn open(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Option<Self>> {
        let &[admit, expire_writes, expire_seconds, rows_max, kind, a, b, c, d, write, seconds] = params
        else {
            return Ok(None);
        };
        let constant = |bits: u64| u32::try_from(bits).ok().map(f32::from_bits);
        let (Some(a), Some(b), Some(c), Some(d)) = (constant(a), constant(b), constant(c), constant(d))
        else {
            return Ok(None);
        };
        let (Some(rule), Ok(admit_after)) = (Rule::of_number(kind, [a, b, c, d]), u32::try_from(admit))
        else {
            return Ok(None);
        };
        let rules = DynamicRules { admit_after, expire_writes, expire_seconds, rows_max };
        let mut table = Self::new(segments.floats("shared", dim)?, rules, rule)?;
        table.now = Stamp { write, seconds };
        table.shared_state = segments.floats("shared_state", table.shared_state.len())?;
        let words = segments.len("ids")?;
        let rows = words / 2;
        // No table is written to so often that its writes could not be counted on.
        if rows as u64 > rows_max || !words.is_multiple_of(2) || write > u64::MAX / 2 {
            return Ok(None);
        }
        table.ids = numbers(&segments.words("ids", words)?);
        table.own = segments.floats("own", rows * dim)?;
        table.state = segments.floats("own_state", rows * table.shared_state.len())?;
        let stamps = segments.words("stamps", rows * STAMP_WORDS)?;
        table.stamps = numbers(&stamps).chunks_exact(2).map(stamp_of).collect();
        table.places = table.ids.iter().zip(0..).map(|(&id, place)| (id, place)).collect();
        table.seen = seen_of(&segments.words("seen", segments.len("seen")?)?);
        let is_sound = table.places.len() == rows && !table.places.contains_key(&u64::MAX);
        Ok((is_sound && segments.len("seen")? == table.seen.len() * SEEN_WORDS).then_some(table))
    }
}

fn numbers(words: &[u32]) -> Vec<u64> {
    words.as_chunks::<2>().0.iter().map(|[low, high]| u64::from(*low) | u64::from(*high) << 32).collect()
}

fn stamp_of(numbers: &[u64]) -> Stamp {
    Stamp { write: numbers[0], seconds: numbers[1] }
}

fn seen_of(words: &[u32]) -> HashMap<u64, (u32, Stamp)> {
    let one = |words: &[u32]| {
        let at = numbers(&words[3..]);
        (numbers(&words[..2])[0], (words[2], stamp_of(&at)))
    };
    words.chunks_exact(SEEN_WORDS).map(one).collect()
}

fn of_words(name: &'static str, width: usize, words: &[u32]) -> Segment<'static> {
    let bytes = bytemuck::cast_slice(words).to_vec().into();
    Segment { name: name.into(), dtype: super::Dtype::U32, width, bytes }
}

impl Table for Dynamic {
    fn method(&self) -> Method {
        Method::Dynamic
    }

    /// Every id but the last number has a row, its own or the shared one.
    fn rows(&self) -> u64 {
        u64::MAX
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        let DynamicRules { admit_after, expire_writes, expire_seconds, rows_max } = self.rules;
        let (kind, constants) = self.rule.number();
        let mut params = Vec::with_capacity(PARAMS);
        params.extend([u64::from(admit_after), expire_writes, expire_seconds, rows_max, kind]);
        params.extend(constants.map(|constant| u64::from(constant.to_bits())));
        params.extend([self.now.write, self.now.seconds]);
        params
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let (ids, stamps, seen) = self.words();
        vec![
            Segment::floats("shared", self.dim, &self.shared),
            Segment::floats("shared_state", self.shared_state.len(), &self.shared_state),
            of_words("ids", 2, &ids),
            Segment::floats("own", self.dim, &self.own),
            Segment::floats("own_state", self.shared_state.len(), &self.state),
            of_words("stamps", STAMP_WORDS, &stamps),
            of_words("seen", SEEN_WORDS, &seen),
        ]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        match self.place(id) {
            Some(place) => out.copy_from_slice(&self.own[place * self.dim..][..self.dim]),
            None => out.copy_from_slice(&self.shared),
        }
    }

    fn bytes(&self) -> SizeReport {
        let (rows, seen) = (self.ids.len(), self.seen.len());
        let words = [
            ("shared", self.dim),
            ("shared_state", self.shared_state.len()),
            ("ids", 2 * rows),
            ("own", self.own.len()),
            ("own_state", self.state.len()),
            ("stamps", STAMP_WORDS * rows),
            ("seen", SEEN_WORDS * seen),
        ];
        SizeReport {
            segments: words.map(|(name, words)| (name.to_owned(), words as u64 * 4)).into(),
            plain_bytes: self.own_rows() * self.dim as u64 * 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const RULES: DynamicRules =
        DynamicRules { admit_after: 3, expire_writes: 10, expire_seconds: 100, rows_max: 5 };
    const RULE: Rule = Rule::Adagrad { rate: 0.5, epsilon: 1e-6 };

    #[test]
    fn nobody_looks_for_expired_rows_where_none_expire() {
        let due = |rules: DynamicRules| -> Vec<u64> {
            let mut table = Dynamic::new(vec![0.0], rules, RULE).unwrap();
            let writes = 1..=2 * SWEEP + 1;
            writes
                .filter(|write| table.put(&[*write % 5], &[1.0], 0).map(|()| table.is_due()).unwrap())
                .collect()
        };
        let none = DynamicRules { expire_writes: 0, expire_seconds: 0, ..RULES };
        assert_eq!(due(none), []);
        for rules in [DynamicRules { expire_writes: 1, ..none }, DynamicRules { expire_seconds: 1, ..none }] {
            assert_eq!(due(rules), [SWEEP, 2 * SWEEP]);
        }
    }

    /// The same, said as plainly as can be: a row is (values, state, write, seconds).
    #[derive(Default)]
    struct Twin {
        shared: (Vec<f32>, Vec<f32>),
        rows: BTreeMap<u64, (Vec<f32>, Vec<f32>, u64, u64)>,
        seen: BTreeMap<u64, (u32, u64, u64)>,
        write: u64,
        seconds: u64,
    }

    impl Twin {
        fn new(shared: &[f32]) -> Self {
            Self { shared: (shared.to_vec(), vec![0.0]), ..Self::default() }
        }

        fn train(&mut self, ids: &[u64], gradients: &[f32], seconds: u64) {
            (self.write, self.seconds) = (self.write + 1, self.seconds.max(seconds));
            let dim = self.shared.0.len();
            let mut sums: BTreeMap<u64, (Vec<f32>, u32)> = BTreeMap::new();
            for (id, gradient) in ids.iter().zip(gradients.chunks(dim)) {
                match sums.get_mut(id) {
                    Some((sum, times)) => {
                        sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
                        *times += 1;
                    }
                    None => drop(sums.insert(*id, (gradient.to_vec(), 1))),
                }
            }
            let mut of_shared = vec![0.0; dim];
            let mut any = false;
            for (id, (sum, times)) in sums {
                if !self.rows.contains_key(&id) {
                    let count = self.seen.get(&id).map_or(0, |seen| seen.0) + times;
                    if count >= RULES.admit_after && (self.rows.len() as u64) < RULES.rows_max {
                        self.seen.remove(&id);
                        self.rows.insert(id, (self.shared.0.clone(), vec![0.0], 0, 0));
                    } else {
                        if count < RULES.admit_after && (self.seen.len() < 20 || self.seen.contains_key(&id))
                        {
                            self.seen.insert(id, (count, self.write, self.seconds));
                        }
                        of_shared.iter_mut().zip(&sum).for_each(|(s, g)| *s += g);
                        any = true;
                        continue;
                    }
                }
                let row = self.rows.get_mut(&id).unwrap();
                move_row(RULE, self.write, &mut row.0, &sum, &mut row.1);
                (row.2, row.3) = (self.write, self.seconds);
            }
            if any {
                move_row(RULE, self.write, &mut self.shared.0, &of_shared, &mut self.shared.1);
            }
            if self.write.is_multiple_of(SWEEP) {
                self.expire();
            }
        }

        fn expire(&mut self) {
            let (write, seconds) = (self.write, self.seconds);
            let stays =
                |w: u64, s: u64| write - w <= RULES.expire_writes && seconds - s <= RULES.expire_seconds;
            self.rows.retain(|_, row| stays(row.2, row.3));
            self.seen.retain(|_, seen| stays(seen.1, seen.2));
        }

        fn row(&self, id: u64) -> &[f32] {
            self.rows.get(&id).map_or(&self.shared.0, |row| &row.0)
        }
    }

    proptest! {
        #[test]
        fn rows_come_and_go_as_in_the_twin(
            steps in prop::collection::vec((prop::collection::vec((0u64..12, -4i8..4, -4i8..4), 0..6), 0u64..60, prop::bool::weighted(0.1)), 1..150)
        ) {
            let shared = vec![0.5, -0.25];
            let mut table = Dynamic::new(shared.clone(), RULES, RULE).unwrap();
            let mut twin = Twin::new(&shared);
            let mut seconds = 1_000;
            for (rows, later, expires) in steps {
                seconds += later;
                let ids: Vec<u64> = rows.iter().map(|row| row.0 * 0x1_0000_0001).collect();
                let gradients: Vec<f32> = rows.iter().flat_map(|row| [f32::from(row.1), f32::from(row.2)]).collect();
                table.train(&ids, &gradients, seconds).unwrap();
                twin.train(&ids, &gradients, seconds);
                if expires {
                    table.expire();
                    twin.expire();
                }
                prop_assert_eq!(table.own_rows(), twin.rows.len() as u64);
                for id in (0..12).map(|id| id * 0x1_0000_0001) {
                    let mut row = [0.0; 2];
                    table.lookup(&[id], &mut row).unwrap();
                    prop_assert_eq!(&row[..], twin.row(id));
                }
                let segments = table.segments();
                let bytes: Vec<_> = segments.iter().map(|one| (one.name.to_string(), one.bytes.len() as u64)).collect();
                prop_assert_eq!(table.bytes().segments, bytes);
                let again = Dynamic::open(2, &table.params(), Segments(&segments)).unwrap().unwrap();
                prop_assert_eq!(&again, &table);
            }
        }
    }

    #[test]
    fn what_is_written_has_a_row_while_there_is_room() {
        let mut table = Dynamic::new(vec![1.0], RULES, RULE).unwrap();
        table.put(&[1, 2, 3, 4, 5, 6], &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0], 7).unwrap();
        let mut out = [0.0; 3];
        table.lookup(&[1, 6, u64::MAX - 1], &mut out).unwrap();
        assert_eq!(out, [10.0, 1.0, 1.0]);
        for (ids, values) in [(&[1][..], &[f32::NAN][..]), (&[u64::MAX], &[1.0]), (&[1, 2], &[1.0])] {
            let before = table.clone();
            assert!(table.put(ids, values, 9).is_err() && table.train(ids, values, 9).is_err());
            assert_eq!(table, before);
        }
        let none = DynamicRules { rows_max: 0, ..RULES };
        assert!(Dynamic::new(vec![1.0], none, RULE).is_err());
        assert!(Dynamic::new(vec![f32::NAN], RULES, RULE).is_err());
        assert!(Dynamic::new(vec![], RULES, RULE).is_err());
        assert!(Dynamic::new(vec![1.0], RULES, Rule::Sgd { rate: f32::INFINITY }).is_err());
    }

    #[test]
    fn segments_that_are_no_table_are_refused() {
        let mut table = Dynamic::new(vec![1.0], RULES, RULE).unwrap();
        table.put(&[1, 2], &[10.0, 20.0], 7).unwrap();
        table.train(&[9], &[1.0], 8).unwrap();
        let (params, segments) = (table.params(), table.segments());
        for at in 0..segments.len() {
            let mut bad = segments.clone();
            bad[at].bytes.to_mut().extend([0; 4]);
            assert!(!matches!(Dynamic::open(1, &params, Segments(&bad)), Ok(Some(_))), "{at}");
            bad.remove(at);
            assert!(Dynamic::open(1, &params, Segments(&bad)).is_err(), "{at}");
        }
        let mut twice = segments.clone();
        let ids = twice.iter_mut().find(|segment| segment.name == "ids").unwrap();
        ids.bytes.to_mut().copy_within(0..8, 8);
        assert_eq!(Dynamic::open(1, &params, Segments(&twice)).unwrap(), None);
        for at in 0..params.len() {
            assert_eq!(Dynamic::open(1, &params[..at], Segments(&segments)).unwrap(), None);
        }
    }
}
