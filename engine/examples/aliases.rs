//! A name that moves from one collection to another in one step.

use nearline::{Database, Point, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let monday = database.create_collection("monday", Schema::new())?;
    database.set_alias("live", "monday")?;
    monday.upsert([Point::new(1)])?;
    let tuesday = database.create_collection("tuesday", Schema::new())?;
    tuesday.upsert([Point::new(1), Point::new(2)])?;
    assert_eq!(database.collection("live")?.count(None)?, 1);
    database.set_alias("live", "tuesday")?;
    assert_eq!(database.collection("live")?.count(None)?, 2);
    drop(monday);
    database.drop_collection("monday")?;
    println!("{:?}, {:?}", database.collections(), database.aliases());
    Ok(())
}
