//! Going through all points, a page at a time, in order of their ids; and the first in the order of a field.

use nearline::{Database, OrderBy, Payload, Point, Schema, Scroll, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::new())?;
    points.upsert((0..25u64).map(|id| Point::new(id).payload(Payload::new().with("price", 100 - id))))?;
    let (mut scroll, mut seen) = (Scroll::new().limit(10), 0);
    loop {
        let page = points.scroll(&scroll)?;
        seen += page.points.len();
        println!("{} points, next {:?}", page.points.len(), page.next);
        let Some(next) = page.next else { break };
        scroll = scroll.from(next);
    }
    assert_eq!(seen, 25);

    let cheapest = Scroll::new().order_by(OrderBy::ascending("price").start_from(80)).limit(3);
    let page = points.scroll(&cheapest)?;
    assert_eq!(page.order_values, [80, 81, 82].map(Value::from));
    println!("from 80 on, the cheapest is {}", page.points[0].id);
    Ok(())
}
