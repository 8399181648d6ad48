//! The section of a file of codes: refused, or read to what answers and is written as the same bytes.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nearline_index::{
    AllowedRows, CodeAsk, ElementType, Flat, FlatWriter, Metric, Nearest, RowCodes, RowId, Scorer, Shape,
};
use nearline_storage::{BlobWriter, Disk, ExtentFileWriter, FileHeader, SimDisk};

const SHAPE: Shape = Shape { element: ElementType::F32, dim: 3 };
const ROWS: u32 = 40;
const ID: u64 = 9;

struct All;

impl AllowedRows for All {
    fn count(&self) -> u64 {
        ROWS.into()
    }

    fn iter(&self) -> impl Iterator<Item = RowId> {
        (0..ROWS).map(RowId)
    }

    fn has(&self, row: RowId) -> bool {
        row.0 < ROWS
    }
}

fuzz_target!(|data: &[u8]| {
    let sim = SimDisk::new(0);
    let mut writer = FlatWriter::create(&sim, "flat", 1, SHAPE).unwrap();
    for row in 0..ROWS {
        let vector = [row as f32; 3].map(f32::to_le_bytes);
        writer.push(RowId(row), vector.as_flattened()).unwrap();
    }
    let rows = writer.finish().unwrap().rows;
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let flat = Flat::open(&disk, "flat", 1, SHAPE, rows).unwrap();

    let mut writer =
        ExtentFileWriter::create(&sim, "codes", FileHeader { kind: *b"CODE", file_id: ID }).unwrap();
    let mut blob = BlobWriter::new(&mut writer, 40);
    blob.write(data).unwrap();
    blob.finish().unwrap();
    writer.sync().unwrap();

    let Ok(codes) = RowCodes::read(&sim, "codes", ID, Metric::L2, &flat) else { return };
    codes.write(&sim, "again", ID).unwrap();
    assert!(sim.bytes("again").unwrap() == sim.bytes("codes").unwrap());
    let query = [7.0f32; 3].map(f32::to_le_bytes);
    let scorer = Scorer::new(Metric::L2, SHAPE, query.as_flattened());
    let ask = CodeAsk { query: query.as_flattened(), scorer: &scorer, recall: 0.9 };
    let mut nearest = Nearest::new(5);
    codes.nearest_of(&flat, &ask, &All, &mut nearest).unwrap();
    assert_eq!(nearest.into_sorted().len(), 5);
});
