//! Going through all points, a page at a time, in order of their ids.

use nearline::{Database, Point, Schema, Scroll};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::new())?;
    points.upsert((0..25u64).map(Point::new))?;
    let (mut scroll, mut seen) = (Scroll::new().limit(10), 0);
    loop {
        let page = points.scroll(&scroll)?;
        seen += page.points.len();
        println!("{} points, next {:?}", page.points.len(), page.next);
        let Some(next) = page.next else { break };
        scroll = scroll.from(next);
    }
    assert_eq!(seen, 25);
    Ok(())
}
