//! What users did, and how much of it is like what they might see next.

use nearline::sdim::Normalize;
use nearline::{Behavior, BehaviorOptions, Candidates, Database, SourceOffset, Span};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    // Four elements an item, 8 groups of 2 bits; what is older than a day is not seen.
    let options = BehaviorOptions::new(4).hashes(8, 2).normalize(Normalize::Count).ttl_ms(86_400_000);
    let clicks = database.create_behavior_space("clicks", options)?;

    // Items 1 and 2 are alike, item 3 is unlike both.
    let vectors = [1.0, 0.2, 0.0, 0.1, 0.9, 0.3, 0.1, 0.0, -1.0, 0.1, 0.8, -0.5];
    clicks.put_items(&[1, 2, 3], &vectors)?;

    // User 7 clicked on item 1 twice. The batch comes again after a crash, and counts once.
    let source = SourceOffset { source: "topic".to_owned(), partition: 0, offset: 41 };
    let batch = || [Behavior::new(7, 100, 1_000, 1), Behavior::new(7, 101, 2_000, 1)];
    assert_eq!(clicks.append_from(source.clone(), batch())?.appended, 2);
    assert!(clicks.append_from(source, batch())?.is_repeated);

    // Interest: a vector for each candidate, near to the behaviours that are like it.
    let now = clicks.at(3_000);
    let interest = now.interest(7, &Candidates::Items(&[2, 3]))?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let (alike, unlike) = (dot(&interest[..4], &vectors[4..8]), dot(&interest[4..], &vectors[8..]));
    println!("item 2: {alike:.3}, item 3: {unlike:.3}");
    assert!(alike > unlike);

    // The same without approximation, the most alike, the last ones.
    let exact = now.exact_attention(7, &Candidates::Items(&[2]), 1.0)?;
    assert_eq!(exact, vectors[..4]);
    println!("{:?}", now.top_k_hamming(7, &Candidates::Items(&[2]), 1)?);
    assert_eq!(now.behaviors(7, Span::Last(1))?[0].event, 101);

    // The next day the first click has expired, then the user is forgotten.
    assert_eq!(clicks.at(86_401_000).behaviors(7, Span::Last(10))?.len(), 1);
    assert_eq!(clicks.truncate(7, 0)?.deleted, 2);
    Ok(())
}
