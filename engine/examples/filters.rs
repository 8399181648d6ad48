//! Only points that match: by keyword, range, place and text.

use nearline::{Condition, Database, Filter, GeoPoint, Metric, Object, Payload, Point, Query, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let shops = database.create_collection("shops", Schema::single(2, Metric::L2))?;
    let shop = |id: u64, kind: &str, rating: f64, lon: f64, lat: f64| {
        let place = Object::from([("lon".to_owned(), lon.into()), ("lat".to_owned(), lat.into())]);
        let payload = Payload::new().with("kind", kind).with("rating", rating).with("place", place);
        Point::new(id).vector([rating as f32, id as f32]).payload(payload)
    };
    shops.upsert([
        shop(1, "bakery", 4.5, 13.40, 52.52),
        shop(2, "bakery", 3.1, 2.35, 48.86),
        shop(3, "books and coffee", 4.8, 13.45, 52.50),
    ])?;
    let berlin = GeoPoint { lon: 13.40, lat: 52.52 };
    let good_and_near =
        Filter::must([Condition::range("rating").gte(4.0), Condition::geo_radius("place", berlin, 10_000.0)]);
    assert_eq!(shops.count(Some(&good_and_near))?, 2);
    let with_coffee = Filter::must([Condition::matches_text("kind", "coffee")]);
    let no_bakery = Filter::must_not([Condition::matches("kind", "bakery")]);
    for filter in [with_coffee, no_bakery] {
        let answer = shops.query(&Query::nearest([5.0, 0.0]).filter(filter).with_payload(true))?;
        println!("{:?}: {} match", answer.report.strategy, answer.hits.len());
        assert_eq!(answer.hits[0].id, 3.into());
    }
    Ok(())
}
