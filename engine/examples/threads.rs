//! Writers and readers at the same time: clones are handles on one collection.

use nearline::{Database, Metric, Point, Query, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::single(1, Metric::L2))?;
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let points = points.clone();
            scope.spawn(move || {
                for i in 0..50u64 {
                    let id = writer * 50 + i;
                    points.upsert([Point::new(id).vector([id as f32])]).expect("a write");
                }
            });
        }
        let points = points.clone();
        scope.spawn(move || {
            for _ in 0..50 {
                points.query(&Query::nearest([42.0]).k(3)).expect("an answer");
            }
        });
    });
    assert_eq!(points.count(None)?, 200);
    Ok(())
}
