//! How hard a generated set is to search: makes it, finds the exact neighbours of some queries and prints the
//! speed of both and the local intrinsic dimension.
//!
//! `cargo run --release -p nearline-datasets --example difficulty -- KIND ROWS DIM ELEMENT QUERIES FOLDER`

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use nearline_datasets::{
    ElementType, Kind, Metric, VectorFile, generate, generate_queries, ground_truth, intrinsic_dimension,
    load_raw,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, rows, dim, element, queries, folder] = &arguments[..] else {
        return Err("usage: difficulty KIND ROWS DIM ELEMENT QUERIES FOLDER".into());
    };
    let (kind, element): (Kind, ElementType) = (kind.parse()?, element.parse()?);
    let (rows, dim, queries): (u64, usize, u64) = (rows.parse()?, dim.parse()?, queries.parse()?);
    let extension = if element == ElementType::F32 { "fbin".into() } else { format!("{element}bin") };
    let path = |name: &str| Path::new(folder).join(format!("{name}.{extension}"));

    let start = Instant::now();
    generate(kind, rows, dim, element, 1)?.write_to(&path("base"))?;
    let seconds = start.elapsed().as_secs_f64();
    println!("generated and written: {seconds:.2} s, {:.0} vectors/s", rows as f64 / seconds);
    generate_queries(kind, queries, dim, element, 1)?.write_to(&path("query"))?;

    let (base, queries) = (VectorFile::open(&path("base"))?, load_raw(&path("query"))?);
    let start = Instant::now();
    let truth = ground_truth(&base, &queries, Metric::L2, 100, 0, &|_, _| {})?;
    println!("ground truth: {:.2} s", start.elapsed().as_secs_f64());
    truth.write(&Path::new(folder).join("gt100.bin"))?;
    println!("local intrinsic dimension (k = 100): {:.2}", intrinsic_dimension(&truth));
    Ok(())
}
