//! Click data: ids by field, and what was clicked.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Rows of one id a field.
pub(crate) struct Data {
    pub(crate) name: &'static str,
    /// All ids are below.
    pub(crate) ids: u64,
    /// How many ids each field has; they lie one after another.
    pub(crate) fields: Vec<u64>,
    rows: Vec<u64>,
    pub(crate) labels: Vec<bool>,
    pub(crate) train: Vec<usize>,
    pub(crate) valid: Vec<usize>,
    pub(crate) test: Vec<usize>,
    /// How often each id is in the training rows.
    pub(crate) frequencies: Vec<u64>,
}

impl Data {
    /// The ids of a row.
    pub(crate) fn row(&self, row: usize) -> &[u64] {
        let width = self.fields.len();
        &self.rows[row * width..][..width]
    }

    pub(crate) fn sizes(&self) -> String {
        format!("rows: {} train, {} valid, {} test", self.train.len(), self.valid.len(), self.test.len())
    }

    /// Numbers the values of each field, and splits rows: `part` says by tenths where a row belongs.
    fn new(name: &'static str, raw: &[(Vec<String>, bool)], part: impl Fn(usize) -> u64) -> Self {
        let width = raw.first().map_or(0, |row| row.0.len());
        let mut numbers: Vec<HashMap<&str, u64>> = vec![HashMap::new(); width];
        for (values, _) in raw {
            for (numbers, value) in numbers.iter_mut().zip(values) {
                let next = numbers.len() as u64;
                numbers.entry(value).or_insert(next);
            }
        }
        let fields: Vec<u64> = numbers.iter().map(|numbers| numbers.len() as u64).collect();
        let first: Vec<u64> = (0..width).map(|field| fields[..field].iter().sum()).collect();
        let id = |field: usize, value: &String| first[field] + numbers[field][value.as_str()];
        let rows = raw.iter().flat_map(|row| row.0.iter().enumerate().map(|(field, value)| id(field, value)));
        let mut data = Self {
            name,
            ids: fields.iter().sum(),
            rows: rows.collect(),
            fields,
            labels: raw.iter().map(|row| row.1).collect(),
            train: Vec::new(),
            valid: Vec::new(),
            test: Vec::new(),
            frequencies: Vec::new(),
        };
        for row in 0..raw.len() {
            match part(row) {
                0..7 => data.train.push(row),
                7 => data.valid.push(row),
                _ => data.test.push(row),
            }
        }
        data.frequencies = vec![0; data.ids as usize];
        for &row in &data.train {
            data.rows[row * width..][..width].iter().for_each(|&id| data.frequencies[id as usize] += 1);
        }
        data
    }
}

/// Three fields of 100, 80 and 20 ids by chance; clicked is what the first two agree on, by their lowest bits.
#[cfg(test)]
pub(crate) fn made() -> Data {
    let mut state = 1u64;
    let mut below = |count: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % count
    };
    let row = |_| {
        let (a, b, c) = (below(100), below(80), below(20));
        ([a, b, c].map(|id| id.to_string()).to_vec(), a % 2 == b % 2)
    };
    let raw: Vec<(Vec<String>, bool)> = (0..8_000).map(row).collect();
    Data::new("made", &raw, |row| row as u64 % 10)
}

/// Frappe: which application is used where, by whom; ten fields.
pub(crate) fn frappe() -> Result<Data> {
    let text = read("frappe-57722.libfm.gz")?;
    let mut raw = Vec::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        let label = parts.next() == Some("1");
        raw.push((parts.map(str::to_owned).collect(), label));
    }
    let mix = |row: usize| (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Ok(Data::new("frappe", &raw, |row| mix(row) % 10))
}

/// MovieLens 100k: who liked (more than three stars) what; the last tenths of the time are validation and test.
pub(crate) fn ml_100k() -> Result<Data> {
    let (users, items) = (read("ml-100k.users.tsv.gz")?, read("ml-100k.items.tsv.gz")?);
    let by_id = |text: &str| -> HashMap<String, Vec<String>> {
        let fields = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        fields.filter_map(|fields| Some((fields.first()?.clone(), fields))).collect()
    };
    let (users, items) = (by_id(&users), by_id(&items));
    let mut raw = Vec::new();
    for line in read("ml-100k.events.tsv.gz")?.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (user, item) = (&users[fields[0]], &items[fields[1]]);
        let decade = user[1].chars().next().map(String::from).unwrap_or_default();
        let of = |fields: &[String], at: usize| fields.get(at).cloned().unwrap_or_default();
        let row = vec![of(user, 0), of(item, 0), decade, of(user, 2), of(user, 3), of(item, 2), of(item, 3)];
        raw.push((row, fields[2].parse::<f32>()? > 3.0));
    }
    let count = raw.len();
    Ok(Data::new("ml-100k", &raw, |row| (row * 10 / count) as u64))
}

fn read(name: &str) -> Result<String> {
    let folder =
        std::env::var_os("NEARLINE_DATASETS").context("NEARLINE_DATASETS names no folder of real sets")?;
    let path = PathBuf::from(folder).join("ctr").join(name);
    let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    Ok(text)
}
