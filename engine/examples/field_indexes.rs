//! An index on a field: what a filtered query costs without and with it.

use nearline::{Condition, Database, FieldType, Filter, Metric, Payload, Point, Query, QueryAnswer, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let films = database.create_collection("films", Schema::single(16, Metric::L2))?;
    let film = |id: u64| {
        let genre = if id.is_multiple_of(500) { "western" } else { "drama" };
        let vector: Vec<f32> = (0..16_u64).map(|at| (id * 31 % (at + 7)) as f32).collect();
        Point::new(id)
            .vector(vector)
            .payload(Payload::new().with("genre", genre).with("year", 1950 + id % 70))
    };
    films.upsert((0..5_000).map(film))?;
    films.flush()?;

    let westerns = Filter::must([Condition::matches("genre", "western"), Condition::range("year").gte(1960)]);
    let ask = |what: &str| -> Result<QueryAnswer, nearline::QueryError> {
        let answer = films.query(&Query::nearest(vec![1.0; 16]).k(3).filter(westerns.clone()))?;
        let report = &answer.report;
        println!("{what}: {:?}; {}", report.strategy, report.why);
        println!("  not indexed: {:?}; {:.0} us for the filter", report.filter.unindexed, report.filter_us);
        Ok(answer)
    };
    let slow = ask("without indexes")?;
    // They are built in the background; queries may come meanwhile.
    films.create_field_index("genre", FieldType::Keyword)?;
    films.create_field_index("year", FieldType::Integer)?;
    films.wait_idle()?;
    let fast = ask("with indexes")?;
    assert_eq!(slow.hits, fast.hits);
    assert_eq!((slow.report.filter.payloads_asked, fast.report.filter.payloads_asked), (5_000, 0));
    for index in films.field_indexes() {
        println!("{} ({}): {} points, {} bytes", index.path, index.field_type, index.points, index.bytes);
    }
    Ok(())
}
