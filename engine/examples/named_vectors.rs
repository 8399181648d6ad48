//! Several vectors a point, of different lengths, metrics and element types.

use nearline::{Database, ElementType, Metric, Point, Query, Schema, VectorConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let schema = Schema::new()
        .vector("title", VectorConfig::new(4, Metric::Cosine))
        .vector("cover", VectorConfig::new(3, Metric::L2).element(ElementType::U8));
    let database = Database::builder(folder.path()).open()?;
    let books = database.create_collection("books", schema)?;
    books.upsert([
        Point::new(1).named_vector("title", [0.1, 0.9, 0.0, 0.0]).named_vector("cover", vec![10u8, 20, 30]),
        Point::new(2).named_vector("title", [0.9, 0.1, 0.0, 0.0]),
        Point::new(3).named_vector("cover", vec![200u8, 20, 30]),
    ])?;
    let by_title = books.query(&Query::nearest([1.0, 0.0, 0.0, 0.0]).using("title"))?;
    let by_cover = books.query(&Query::nearest(vec![11u8, 21, 31]).using("cover").with_vectors(true))?;
    assert_eq!((by_title.hits[0].id, by_cover.hits[0].id), (2.into(), 1.into()));
    println!("{:?}", by_cover.hits[0].vectors);
    Ok(())
}
