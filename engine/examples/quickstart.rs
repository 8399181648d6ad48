//! The shortest way: a database, a collection, points, a question.

use nearline::{Database, Metric, Point, Query, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let colors = database.create_collection("colors", Schema::single(3, Metric::L2))?;
    colors.upsert([
        Point::new(1).vector([255.0, 0.0, 0.0]),
        Point::new(2).vector([0.0, 255.0, 0.0]),
        Point::new(3).vector([200.0, 30.0, 30.0]),
    ])?;
    let answer = colors.query(&Query::nearest([250.0, 10.0, 10.0]).k(2))?;
    for hit in &answer.hits {
        println!("{} at {}", hit.id, hit.distance);
    }
    assert_eq!(answer.hits[0].id, 1.into());
    Ok(())
}
