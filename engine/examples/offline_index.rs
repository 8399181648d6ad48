//! Vectors indexed offline and searched from disk, without a collection.

use nearline::{BuildOptions, Index, OpenOptions, SearchOptions, Silent, VectorSlice};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let values: Vec<f32> = (0..8_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32).collect();
    let vectors = VectorSlice::from_f32(8, &values)?;
    let dir = folder.path().join("index");
    nearline::build(&dir, &vectors, &BuildOptions::default(), &Silent)?;
    let index = Index::open(&dir, &OpenOptions::default())?;
    let query: Vec<u8> = values[80..88].iter().flat_map(|x| x.to_le_bytes()).collect();
    let answer = index.searcher().search(&query, &SearchOptions { k: 3, ..SearchOptions::default() })?;
    println!("{} lists, {} bytes", answer.cost.lists, answer.cost.bytes);
    assert_eq!(answer.hits[0].id, 10);
    Ok(())
}
