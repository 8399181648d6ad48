//! Tables of any method from any bytes.

use std::borrow::Cow;

use nearline_index::embedding::{
    Bags, Dtype, Method, Pool, Segment, Segments, Table, is_values, open, open_runs, read_faiss_pq,
    rows_by_key, write_faiss_pq,
};

/// Names of segments of all methods, with the numbers that levels, cores and fields have.
const NAMES: [&str; 29] = [
    "rows",
    "codebook",
    "basis",
    "level0",
    "basis0",
    "level1",
    "basis1",
    "shared",
    "quotients",
    "remainders",
    "array",
    "remap",
    "own",
    "map",
    "blocks",
    "core0",
    "core1",
    "core2",
    "factors0",
    "projection0",
    "kept",
    "bits",
    "offsets",
    "values",
    "shared_state",
    "ids",
    "own_state",
    "stamps",
    "seen",
];

/// Rows that are asked for: where ids come and go, any number is one.
const ASKED: u64 = 300;

/// Takes bytes for a method, a shape, parameters and segments. A byte each but for what segments hold.
pub fn open_any(data: &[u8]) {
    let mut bytes = data.iter();
    let mut next = || bytes.next().copied().unwrap_or(0);
    let Some(method) = Method::from_number(u16::from(next() % 22)) else { return };
    let (rows, dim) = (u64::from(next()), usize::from(next() % 32));
    let params: Vec<u64> = (0..next() % 12).map(|_| u64::from(next())).collect();
    let shapes: Vec<[u8; 3]> = (0..next() % 8).map(|_| [next(), next(), next()]).collect();
    let mut rest = bytes.as_slice();
    let mut segments = Vec::new();
    for [name, dtype, len] in shapes {
        let dtype = Dtype::ALL[usize::from(dtype) % Dtype::ALL.len()];
        let taken = (usize::from(len) * dtype.bytes()).min(rest.len());
        let (here, behind) = rest.split_at(taken);
        rest = behind;
        let name = Cow::Borrowed(NAMES[usize::from(name) % NAMES.len()]);
        segments.push(Segment { name, dtype, width: 1, bytes: Cow::Borrowed(here) });
    }
    runs_lead_inside(method, rows, dim, &params, &segments);
    match open(method, rows, dim, &params, Segments(&segments)) {
        Ok(table) => answers(&*table),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

/// A layout that is opened has only runs of values that there are.
fn runs_lead_inside(method: Method, rows: u64, dim: usize, params: &[u64], segments: &[Segment<'_>]) {
    let (lying_elsewhere, beside): (Vec<_>, Vec<_>) =
        segments.iter().cloned().partition(|segment| is_values(method, &segment.name));
    let values =
        lying_elsewhere.iter().map(|segment| segment.bytes.len() / segment.dtype.bytes()).sum::<usize>();
    let Ok(layout) = open_runs(method, rows, dim, params, Segments(&beside), values as u64) else { return };
    let (mut runs, mut row) = (Vec::new(), vec![0.0; layout.dim()]);
    for id in 0..layout.rows().min(ASKED) {
        runs.clear();
        layout.runs(id, &mut runs);
        assert!(runs.iter().all(|run| run.first + u64::from(run.len) <= values as u64));
        let bytes = runs.iter().map(|run| run.len as usize).sum::<usize>() * layout.dtype().bytes();
        layout.row_of(id, &vec![0; bytes], &mut row);
    }
}

fn answers(table: &dyn Table) {
    let rows = |table: &dyn Table| -> Vec<u32> {
        let ids: Vec<u64> = (0..table.rows().min(ASKED)).collect();
        let mut out = vec![0.0; ids.len() * table.dim()];
        table.lookup(&ids, &mut out).expect("ids of the table");
        let mut pooled = vec![0.0; table.dim()];
        let offsets = [0, ids.len() as u64];
        table
            .pool(&Bags::new(&ids, &offsets, None).expect("a bag"), Pool::Mean, &mut pooled)
            .expect("its ids");
        out.iter().map(|x| x.to_bits()).collect()
    };
    let segments = table.segments();
    let again = open(table.method(), table.rows(), table.dim(), &table.params(), Segments(&segments));
    assert_eq!(rows(&*again.expect("what a table tells of itself")), rows(table));
}

/// Takes bytes for a file of Faiss, and for keys and values.
pub fn exchange_any(data: &[u8]) {
    if let Ok(table) = read_faiss_pq(data) {
        answers(&table);
        let again = read_faiss_pq(&write_faiss_pq(&table));
        assert_eq!(again.expect("what is written is read").row_bytes(), table.row_bytes());
    }
    let Some((&dim, rest)) = data.split_first() else { return };
    // As many keys as there would be rows, if bytes are left over.
    let keys = rest.len() / (8 + 4 * usize::from(dim)) * 8;
    let (keys, values) = rest.split_at(keys);
    if let Ok(rows) = rows_by_key(keys, values, usize::from(dim)) {
        assert_eq!(rows.len(), values.len());
    }
}
