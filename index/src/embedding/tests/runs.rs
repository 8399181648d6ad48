//! Rows that are runs of values: against the places of each value, against tables that have their values, and what is refused.

use proptest::prelude::*;

use super::super::*;
use super::values;
use crate::random::Random;

/// The twin of ROBE, one value after another: its place and its sign.
fn robe_places(rows: &RobeRules, dim: usize, len: usize, seed: u64, id: u64) -> Vec<(usize, f32)> {
    let RobeRules { chunk, is_wrapping, is_signed } = *rows;
    let (hashes, signs) = (Random::new(seed, 0x20be + 1), Random::new(seed, 0x20be + 2));
    let range = if is_wrapping { len } else { len - chunk + 1 } as u64;
    let chunks = dim.div_ceil(chunk) as u64;
    let place = |j: usize| {
        let start = hashes.below(id * chunks + (j / chunk) as u64, range) as usize;
        let is_negative = is_signed && signs.at(id * chunks * 64 + (j / 64) as u64) >> (j % 64) & 1 == 1;
        ((start + j % chunk) % len, if is_negative { -1.0 } else { 1.0 })
    };
    (0..dim).map(place).collect()
}

/// The same of STABLE-RPS.
fn cyclic_places(dim: usize, len: usize, seed: u64, id: u64) -> Vec<(usize, f32)> {
    let (dim, len) = (dim as u64, len as u64);
    let place = |i: u64| {
        let start = Random::new(seed, 0x2b5 + 1).below(i / len, len);
        let is_negative = Random::new(seed, 0x2b5 + 2).at(i / 64) >> (i % 64) & 1 == 1;
        (((start + i % len) % len) as usize, if is_negative { -1.0 } else { 1.0 })
    };
    (id * dim..id * dim + dim).map(place).collect()
}

/// Rows, gradients and fits go by the same places.
fn check_places(table: &dyn Train, places: impl Fn(u64) -> Vec<(usize, f32)>) {
    let segments = table.segments();
    let array: Vec<f32> = bytemuck::pod_collect_to_vec(&segments[0].bytes);
    let mut row = vec![0.0; table.dim()];
    let gradient = values(77, table.dim());
    for id in 0..table.rows() {
        table.read(id, &mut row);
        let expected = places(id);
        let own: Vec<u32> = expected.iter().map(|&(at, sign)| (sign * array[at]).to_bits()).collect();
        assert_eq!(row.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), own, "{id}");
        let mut found = Gradients::default();
        table.vjp(id, &gradient, &mut found);
        let found: Vec<(u64, f32)> = found.iter().map(|(_, place, g)| (place, g[0])).collect();
        let own = expected.iter().zip(&gradient).map(|(&(at, sign), g)| (at as u64, sign * g));
        assert_eq!(found, own.collect::<Vec<_>>(), "{id}");
    }
}

/// Where the values of a table are taken apart from the rest of it.
struct Apart {
    layout: std::sync::Arc<dyn Runs>,
    values: Vec<u8>,
}

fn apart(table: &dyn Table) -> Apart {
    let is_value = |segment: &Segment<'_>| is_values(table.method(), &segment.name);
    let (own, others): (Vec<_>, Vec<_>) = table.segments().into_iter().partition(is_value);
    let bytes: Vec<u8> = own.iter().flat_map(|segment| segment.bytes.to_vec()).collect();
    let open = |count: usize| {
        let (method, rows, dim, params) = (table.method(), table.rows(), table.dim(), table.params());
        open_runs(method, rows, dim, &params, Segments(&others), count as u64)
    };
    let count = bytes.len() / own[0].dtype.bytes();
    let layout = open(count).unwrap();
    let parts = own.iter().map(|segment| ValuePart {
        name: segment.name.to_string(),
        width: segment.width,
        values: (segment.bytes.len() / segment.dtype.bytes()) as u64,
    });
    assert_eq!(layout.parts(), parts.collect::<Vec<_>>());
    assert_eq!((layout.dtype(), layout.rows()), (own[0].dtype, table.rows()));
    // One value fewer is too few, unless an array may have any length.
    assert!(count == 0 || is_any_length(table.method()) || open(count - 1).is_err());
    Apart { layout, values: bytes }
}

fn is_any_length(method: Method) -> bool {
    matches!(method, Method::Robe | Method::Cyclic | Method::Masked)
}

/// Rows, sums and products are those of the table, bit for bit.
fn check_apart(table: &dyn Table) {
    let Apart { layout, values: all } = apart(table);
    let ids: Vec<u64> = (0..table.rows()).rev().chain([0, 0]).collect();
    let mut gathered = Gathered::new(&*layout, &ids).unwrap();
    let (runs, bytes) = gathered.parts_mut();
    let width = layout.dtype().bytes();
    let found: Vec<u8> = runs
        .iter()
        .flat_map(|run| all[run.first as usize * width..][..run.len as usize * width].to_vec())
        .collect();
    bytes.copy_from_slice(&found);
    let numbers: Vec<u64> = (0..ids.len() as u64).collect();
    let (weights, query) = (values(5, ids.len()), values(6, table.dim()));
    let offsets = [0, ids.len() as u64 / 2, ids.len() as u64];
    let answers = |table: &dyn Table, ids: &[u64]| {
        let dim = table.dim();
        let (mut rows, mut products) = (vec![9.0; ids.len() * dim], vec![9.0; ids.len()]);
        table.lookup(ids, &mut rows).unwrap();
        table.dot(&query, ids, &mut products).unwrap();
        let (mut sums, mut means) = (vec![9.0; 2 * dim], vec![9.0; 2 * dim]);
        table.pool(&Bags::new(ids, &offsets, None).unwrap(), Pool::Sum, &mut sums).unwrap();
        table.pool(&Bags::new(ids, &offsets, Some(&weights)).unwrap(), Pool::Mean, &mut means).unwrap();
        [rows, products, sums, means].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(answers(&gathered, &numbers), answers(table, &ids), "{:?}", table.method());
    let (segments, params) = (gathered.segments(), gathered.params());
    let plain = open(gathered.method(), gathered.rows(), table.dim(), &params, Segments(&segments)).unwrap();
    let mut rows = [vec![0.0; ids.len() * table.dim()], vec![0.0; ids.len() * table.dim()]];
    plain.lookup(&numbers, &mut rows[0]).unwrap();
    table.lookup(&ids, &mut rows[1]).unwrap();
    assert_eq!(rows[0], rows[1]);
    assert!(Gathered::new(&*layout, &[0, table.rows()]).unwrap_err().to_string().contains("at place 1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn chunks_lie_where_each_of_their_values_does(
        dim in 1_usize..150, chunk in 1_usize..150, budget in 0_u64..900, is_wrapping: bool, is_signed: bool, seed: u64,
    ) {
        let rules = RobeRules { chunk: 1 + chunk % dim, is_wrapping, is_signed };
        let budget = 4 * (rules.chunk as u64 + budget);
        let table = Robe::new(9, dim, budget, rules, 0.5, seed).unwrap();
        let len = table.bytes().total() as usize / 4;
        check_places(&table, |id| robe_places(&rules, dim, len, seed, id));
        check_apart(&table);
    }

    #[test]
    fn rounds_go_on_where_each_of_their_values_does(dim in 1_usize..150, len in 1_u64..900, seed: u64) {
        let table = Cyclic::new(9, dim, 4 * len, 0.5, seed).unwrap();
        let len = table.bytes().total() as usize / 4;
        check_places(&table, |id| cyclic_places(dim, len, seed, id));
        check_apart(&table);
    }

    #[test]
    fn fitted_rows_are_runs_of_values_wherever_these_lie(
        rows in 1_usize..200, dim in 1_usize..20, budget in 0_u64..4_000, is_ordered: bool, seed: u64,
    ) {
        let matrix = values(seed, rows * dim);
        let how_often = |row: u64| if is_ordered { 1_000 - row } else { row * 7_919 % 1_000 };
        let frequencies: Vec<u64> = (0..rows as u64).map(how_often).collect();
        // More than plain rows or only some of it, so that widths, parts and what is left out differ.
        let plain = (rows * dim * 4) as u64;
        for budget in [budget, plain / 3 + 256 * dim as u64 * 4, plain * 3 + 1_024 * dim as u64] {
            let input = FitInput::new(&matrix, dim, Some(&frequencies), budget, seed).unwrap();
            let fields: Vec<u64> =
                if rows < 3 { vec![rows as u64] } else { vec![1, rows as u64 / 2, (rows - 1 - rows / 2) as u64] };
            let mixed = Mixed::fit(&input, &fields);
            if let Ok(table) = &mixed {
                check_apart(&table.clone().with_bias());
            }
            let kept = Masked::import(&input, &fields, &vec![dim / 2; fields.len()], &vec![dim as f32 / 2.0; fields.len()]);
            let tables = [
                mixed.ok().map(|table| Box::new(table) as Box<dyn Table>),
                Masked::fit(&input).ok().map(|table| Box::new(table) as Box<dyn Table>),
                kept.ok().map(|table| Box::new(table) as Box<dyn Table>),
                Sparse::fit(&input).ok().map(|table| Box::new(table) as Box<dyn Table>),
                Tiered::fit(&input).ok().map(|table| Box::new(table) as Box<dyn Table>),
            ];
            tables.into_iter().flatten().for_each(|table| check_apart(&*table));
        }
    }
}

#[test]
fn layouts_whose_runs_would_lead_outside_are_refused() {
    let rows = values(31, 40 * 8);
    let input = FitInput::new(&rows, 8, None, 1 << 20, 1).unwrap();
    let masked = Masked::fit(&input).unwrap();
    let sparse = Sparse::fit(&input).unwrap();
    let remap = masked.segments().remove(0);
    let refused = |method, rows, params: &[u64], segments: &[Segment<'_>], values| {
        open_runs(method, rows, 8, params, Segments(segments), values).unwrap_err().to_string()
    };
    assert!(open_runs(Method::Masked, 40, 8, &[0, 8], Segments(std::slice::from_ref(&remap)), 320).is_ok());
    let error = refused(Method::Masked, 40, &[0, 8], std::slice::from_ref(&remap), 319);
    assert!(error.contains("Masked with parameters [0, 8]"), "{error}");
    let mut offsets = sparse.segments();
    offsets[1].bytes.to_mut()[0] = 1;
    let error = refused(Method::Sparse, 40, &[], &offsets[..2], 320);
    assert!(error.contains("counted by the offsets"), "{error}");
    let error = refused(Method::Robe, 40, &[9, 0, 1], &[], 320);
    assert!(error.contains("Robe with parameters [9, 0, 1]"), "{error}");
    assert!(refused(Method::Robe, 40, &[8, 0, 1], &[], 7).contains("Robe"));
    assert!(refused(Method::Robe, u64::MAX / 64, &[4, 0, 1], &[], 320).contains("Robe"));
    assert!(refused(Method::Cyclic, 40, &[1], &[], 0).contains("Cyclic"));
    assert!(refused(Method::Cyclic, u64::MAX / 7, &[1], &[], 10).contains("Cyclic"));
    let mixed = Mixed::fit_widths(&input, &[10, 30], &[8, 2]).unwrap();
    let (others, params) = (mixed.segments(), mixed.params());
    let error = refused(Method::Mixed, 40, &params, &others, 139);
    assert_eq!(error, "values of rows: 139; expected 140");
    assert!(refused(Method::Mixed, u64::MAX, &[u64::MAX, 8], &others, 1).contains("Mixed"));
    let tiered = Tiered::fit_shape(&input, 4, 4).unwrap();
    let error = refused(Method::Tiered, 40, &[4, 4], &tiered.segments(), 1);
    assert_eq!(error, format!("values of rows: 1; expected {}", 4 * 4 + 36 * 3));
    assert!(refused(Method::Tiered, u64::MAX, &[u64::MAX, 4], &tiered.segments(), 1).contains("Tiered"));
    assert!(refused(Method::Hash, 40, &[], &[], 1).contains("Hash"));
}

/// The segments that layouts of all six methods are opened from, of any values.
fn any_segments(random: Random, rows: usize, dim: usize) -> Vec<Segment<'static>> {
    let number = |i: usize, below: u64| random.below(i as u64, below);
    let segment = |name: &'static str, dtype, bytes: Vec<u8>| Segment {
        name: name.into(),
        dtype,
        width: 1,
        bytes: bytes.into(),
    };
    let words = |count: usize, below: u64| -> Vec<u8> {
        let word = |i| if number(i + 7, 9) == 0 { u32::MAX } else { number(i, below) as u32 };
        (0..count).flat_map(|i| word(i).to_le_bytes()).collect()
    };
    let bits: Vec<u8> = (0..rows * dim.div_ceil(8)).map(|i| number(i, 4) as u8).collect();
    let mut segments = vec![
        segment("bits", Dtype::U8, bits),
        segment("offsets", Dtype::U32, vec![0; 4 * rows.div_ceil(64)]),
        segment("projection0", Dtype::F32, vec![0; 4 * dim]),
        segment("projection1", Dtype::F32, vec![0; 8 * dim]),
        segment("codebook", Dtype::F32, vec![0; 1_024 * dim]),
    ];
    if number(1, 4) > 0 {
        segments.push(segment("remap", Dtype::U32, words(rows, 1 + rows as u64 * number(2, 12))));
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever a layout is opened from: it is refused, or no run of it leads outside, and rows can be made of zeros.
    #[test]
    fn no_layout_leads_outside(
        number in 10_u16..21, rows in 0_usize..70, dim in 1_usize..10, params in prop::collection::vec(0_u64..12, 0..5),
        is_exact: bool, values in 0_u64..700, seed: u64,
    ) {
        let method = Method::from_number(number).unwrap();
        let segments = any_segments(Random::new(seed, 3), rows, dim);
        // Parameters that some method has, so that more than nothing is opened.
        let (all, kept) = (rows as u64, segments[0].bytes.iter().map(|byte| u64::from(byte.count_ones())).sum());
        let (params, exact) = match (method, is_exact) {
            (Method::Mixed, true) => (vec![all / 2, 1, all - all / 2, 2], all / 2 + 2 * (all - all / 2)),
            (Method::Sparse, true) => (Vec::new(), kept),
            (Method::Tiered, true) => (vec![all / 3, 1], all),
            (Method::Masked, true) => (vec![0, 1 + seed % dim as u64], values),
            (Method::Robe, true) => (vec![1 + seed % dim as u64, seed / 7 % 4, seed], values),
            (Method::Cyclic, true) => (vec![seed], values),
            _ => (params, values),
        };
        let Ok(layout) = open_runs(method, all, dim, &params, Segments(&segments), exact) else { return Ok(()) };
        prop_assert!(method.is_of_runs());
        let ids: Vec<u64> = (0..all).collect();
        let mut gathered = Gathered::new(&*layout, &ids).unwrap();
        for run in gathered.parts_mut().0 {
            prop_assert!(run.first + u64::from(run.len) <= exact, "{method:?} {run:?}");
        }
        let mut out = vec![9.0; ids.len() * dim];
        gathered.lookup(&ids, &mut out).unwrap();
        prop_assert!(out.iter().all(|&x| x == 0.0));
        gathered.dot(&vec![1.0; dim], &ids, &mut vec![0.0; ids.len()]).unwrap();
    }
}
