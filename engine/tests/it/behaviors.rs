//! Behaviour spaces of a database on a real disk.

use nearline::{Behavior, BehaviorOptions, Candidates, Database, OpenError, Span};

#[test]
fn spaces_are_made_found_again_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::builder(folder.path()).open().unwrap();
    let database = open();
    let options = || BehaviorOptions::new(2).hashes(4, 2).seed(9).embedding_version("e1");
    assert!(matches!(
        database.create_behavior_space("bad", BehaviorOptions::new(2).hashes(1, 17)),
        Err(OpenError::Schema { .. })
    ));
    assert!(matches!(database.create_behavior_space("/", options()), Err(OpenError::Name { .. })));
    let space = database.create_behavior_space("clicks", options()).unwrap();
    assert!(matches!(database.create_behavior_space("clicks", options()), Err(OpenError::Exists { .. })));
    let other = database.create_behavior_space("views", options()).unwrap();
    // A collection may be called the same.
    database.create_collection("clicks", nearline::Schema::new()).unwrap();
    space.put_items(&[5], &[0.5, -1.0]).unwrap();
    space.append([Behavior::new(1, 1, 10, 5), Behavior::new(2, 1, 10, 6).vector([1.0, 1.0])]).unwrap();
    other.append([Behavior::new(1, 1, 10, 6).vector([2.0, 1.0])]).unwrap();
    let answers = |database: &Database| {
        let space = database.behavior_space("clicks").unwrap();
        let interest = space.now().interest(1, &Candidates::Vectors(&[0.5, -1.0])).unwrap();
        (interest, space.now().behaviors(2, Span::Last(9)).unwrap(), space.projections().to_vec())
    };
    let before = answers(&database);
    assert!((before.0[0] - 0.447_213_6).abs() < 1e-6, "{:?}", before.0);
    drop((space, other, database));

    // What nothing names goes.
    std::fs::create_dir(folder.path().join("behaviors.000099")).unwrap();
    let database = open();
    assert!(!folder.path().join("behaviors.000099").exists());
    assert_eq!(database.behavior_spaces(), ["clicks", "views"]);
    assert_eq!(answers(&database), before);
    let space = database.behavior_space("clicks").unwrap();
    space.flush().unwrap();
    assert_eq!(space.stats().embedding_version, "e1");
    drop(space);
    assert_eq!(answers(&database), before);
    database.drop_behavior_space("views").unwrap();
    assert!(matches!(database.drop_behavior_space("views"), Err(OpenError::Missing { .. })));
    assert!(matches!(database.behavior_space("views"), Err(OpenError::Missing { .. })));
    drop(database);
    let report = Database::builder(folder.path()).verify(None, false, &mut |_, _| {}).unwrap();
    assert_eq!((report.spaces, report.collections, report.damaged.len()), (1, 1, 0));
    assert_eq!(report.leftovers.len(), 0, "{:?}", report.leftovers);
}
