//! Writes that survive a loss of power, and writes that only survive the process.

use nearline::{Database, Durability, Point, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::new())?;
    // A bulk load may be buffered: what follows synced takes all of it along.
    for batch in 0..10u64 {
        points.upsert_with((0..100).map(|i| Point::new(batch * 100 + i)), Durability::Buffered)?;
    }
    points.upsert([Point::new(1_000)])?;
    drop(points);
    drop(database);
    let database = Database::builder(folder.path()).open()?;
    assert_eq!(database.collection("points")?.count(None)?, 1_001);
    Ok(())
}
