//! Payloads set, overwritten, cut and cleared, by ids or by filter.

use nearline::{Condition, Database, Filter, Payload, Point, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let tasks = database.create_collection("tasks", Schema::new())?;
    tasks.upsert(
        (1..=4u64).map(|id| Point::new(id).payload(Payload::new().with("done", false).with("hours", id))),
    )?;
    let small = Filter::must([Condition::range("hours").lte(2)]);
    tasks.set_payload(small.clone(), Payload::new().with("done", true))?;
    tasks.delete_payload(small, ["hours"])?;
    tasks.overwrite_payload([3], Payload::new().with("note", "later"))?;
    tasks.clear_payload([4])?;
    for point in tasks.get([1, 2, 3, 4])? {
        println!("{}: {:?}", point.id, point.payload.as_object());
    }
    assert_eq!(tasks.count(Some(&Filter::must([Condition::matches("done", true)])))?, 2);
    Ok(())
}
