//! What goes wrong is told: what was found, what was expected.

use nearline::{Condition, Database, Filter, Metric, OpenError, Point, Query, Schema, WriteError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let points = database.create_collection("points", Schema::single(2, Metric::Cosine))?;
    let error = points.upsert([Point::new(1).vector([1.0, f32::NAN])]).expect_err("NaN");
    println!("{error}");
    assert!(matches!(error, WriteError::Vector { .. }) && !error.is_retryable());
    println!("{}", points.query(&Query::nearest([1.0, 2.0, 3.0])).expect_err("too long"));
    println!(
        "{}",
        points.count(Some(&Filter::must([Condition::range("a[").lt(1)]))).expect_err("a bad path")
    );
    let error = Database::builder(folder.path()).open().expect_err("open already");
    assert!(matches!(error, OpenError::InUse { .. }));
    println!("{error}");
    Ok(())
}
