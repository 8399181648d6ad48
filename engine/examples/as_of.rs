//! A collection as it was, read where it lies: what a snapshot keeps is searched while the collection goes on.

use nearline::{Database, Metric, Payload, Point, Query, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let prices = database.create_collection("prices", Schema::single(2, Metric::L2))?;
    let price =
        |id, price: u64| Point::new(id).vector([id as f32, 0.0]).payload(Payload::new().with("price", price));
    prices.upsert((0..10u64).map(|id| price(id, 20)))?;
    prices.snapshot("monday")?;
    prices.upsert((0..10u64).map(|id| price(id, 30)))?;

    let monday = prices.as_of("monday")?;
    let query = Query::nearest([3.0, 0.0]).k(1).with_payload(true);
    let (then, now) = (monday.query(&query)?, prices.query(&query)?);
    println!("{:?} on monday, {:?} now", then.hits[0].payload, now.hits[0].payload);
    assert_eq!(then.hits[0].payload, Some(Payload::new().with("price", 20)));
    assert_eq!(now.hits[0].payload, Some(Payload::new().with("price", 30)));

    // Who reads it goes on when it is dropped.
    prices.drop_snapshot("monday")?;
    assert_eq!(monday.count(None)?, 10);
    assert!(prices.as_of("monday").is_err());
    Ok(())
}
