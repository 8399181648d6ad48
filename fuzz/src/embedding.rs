//! Tables of any method from any bytes.

use std::borrow::Cow;

use nearline_index::embedding::{Bags, Dtype, Method, Pool, Segment, Segments, Table, open};

/// Names of segments of all methods, with the numbers that levels, cores and fields have.
const NAMES: [&str; 24] = [
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
];

/// Takes bytes for a method, a shape, parameters and segments. A byte each but for what segments hold.
pub fn open_any(data: &[u8]) {
    let mut bytes = data.iter();
    let mut next = || bytes.next().copied().unwrap_or(0);
    let Some(method) = Method::from_number(u16::from(next() % 21)) else { return };
    let (rows, dim) = (u64::from(next()), usize::from(next() % 32));
    let params: Vec<u64> = (0..next() % 5).map(|_| u64::from(next())).collect();
    let shapes: Vec<[u8; 3]> = (0..next() % 6).map(|_| [next(), next(), next()]).collect();
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
    match open(method, rows, dim, &params, Segments(&segments)) {
        Ok(table) => answers(&*table),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

fn answers(table: &dyn Table) {
    let rows = |table: &dyn Table| -> Vec<u32> {
        let ids: Vec<u64> = (0..table.rows()).collect();
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
