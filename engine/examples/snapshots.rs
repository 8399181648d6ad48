//! A collection as it was, kept and made a collection of its own.

use nearline::{Database, Point, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::new())?;
    points.upsert((0..10u64).map(Point::new))?;
    points.snapshot("before")?;
    points.delete((0..9u64).collect::<nearline::Selector>())?;
    let again = database.restore_snapshot("points", "before", "points again")?;
    println!("{} now, {} before", points.count(None)?, again.count(None)?);
    assert_eq!((points.count(None)?, again.count(None)?), (1, 10));
    Ok(())
}
