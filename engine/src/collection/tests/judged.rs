//! Scores by several examples, and limits of a question, where there is a vector index.

use std::collections::BTreeSet;

use super::index::{indexed, indexed_of, vector, write};
use crate::{
    Collection, Condition, Example, Feedback, Filter, PointId, Query, QueryAnswer, Recommend,
    RecommendStrategy, Strategy,
};

fn ids(answer: &QueryAnswer) -> BTreeSet<PointId> {
    answer.hits.iter().map(|hit| hit.id).collect()
}

fn near(id: u64) -> Example {
    vector(id, 55).into()
}

/// Enough for it to cost less to ask for what is near to a few examples than to compare all.
const MANY: u64 = 12_000;

/// Questions that have scores by several examples.
fn questions(round: u64) -> Vec<Query> {
    let (a, b, c, d) = (round * 41, round * 43 + 7, round * 47 + 900, round * 53 + 1700);
    let recommend =
        |strategy| Query::recommend(Recommend::like([near(a), near(b)]).unlike([near(c)]).strategy(strategy));
    vec![
        recommend(RecommendStrategy::BestScore),
        recommend(RecommendStrategy::SumScores),
        Query::discover(near(a), [(near(b), near(c)), (near(d), near(c))]),
        Query::discover(near(a), Vec::<(Example, Example)>::new()),
        Query::context([(near(a), near(c)), (near(a), near(d))]),
        Query::feedback(Feedback::new(near(a), [(near(b), 0.75), (near(c), 0.5)])),
    ]
}

/// How many are found of those that are found exactly, in each kind of question; by which strategies.
fn recalls(on: &Collection, filter: Option<&Filter>) -> Vec<(f64, BTreeSet<String>)> {
    let mut all = vec![(0.0, BTreeSet::new()); questions(0).len()];
    let rounds = 15;
    for round in 0..rounds {
        for (query, (recall, strategies)) in questions(round).into_iter().zip(&mut all) {
            let query = match filter {
                Some(filter) => query.filter(filter.clone()),
                None => query,
            };
            let (fast, exact) = (on.query(&query).unwrap(), on.query(&query.target_recall(1.0)).unwrap());
            assert_ne!(exact.report.strategy, Strategy::Candidates);
            assert_eq!((fast.hits.len(), exact.hits.len()), (10, 10));
            assert!(fast.hits.is_sorted_by(|a, b| a.score >= b.score));
            strategies.insert(format!("{:?}", fast.report.strategy));
            // Equal scores are as good.
            let worst = exact.hits[9].score;
            *recall +=
                fast.hits.iter().filter(|hit| hit.score >= worst).count() as f64 / (10 * rounds) as f64;
            for hit in fast.hits.iter().filter(|hit| ids(&exact).contains(&hit.id)) {
                assert!(exact.hits.iter().any(|right| (right.id, right.score) == (hit.id, hit.score)));
            }
        }
    }
    all
}

#[test]
fn the_index_helps_where_nothing_better_can_be_left_out() {
    let (_disk, on) = indexed_of(MANY);
    write(&on, MANY..MANY + 30, 0);
    let group = Filter::must([Condition::matches("group", "other")]);
    on.create_field_index("group", crate::FieldType::Keyword).unwrap();
    on.shared.inner.build_all_fields().unwrap();
    for filter in [None, Some(&group)] {
        let all = recalls(&on, filter);
        assert!(all.iter().all(|(recall, _)| *recall > 0.9), "{all:?}");
        // Of those by sums and of those with a target alone the index can always tell.
        for kind in [1, 3, 5] {
            assert_eq!(all[kind].1, BTreeSet::from(["Candidates".to_owned()]), "{kind}: {all:?}");
        }
        assert!(all[0].1.contains("Candidates"), "{all:?}");
    }
}

#[test]
fn feedback_whose_weights_cancel_is_answered_exactly() {
    let (_disk, on) = indexed_of(MANY);
    // But for rounding: there is no vector that all of it is about.
    let said = [(near(7), 0.1), (near(900), 0.2), (near(1700), 0.7)];
    for a in [0.0, 1e-9] {
        let query = Query::feedback(Feedback::new(near(41), said.clone()).coefficients(a, 1.0, 1.0));
        let (found, right) = (on.query(&query).unwrap(), on.query(&query.target_recall(1.0)).unwrap());
        assert_ne!(found.report.strategy, Strategy::Candidates);
        assert_eq!(ids(&found), ids(&right));
    }
}

#[test]
fn feedback_that_makes_no_score_is_refused() {
    let (_disk, on) = indexed();
    let feedback = |said: Vec<(Example, f32)>| Feedback::new(near(1), said);
    for (feedback, part) in [
        (feedback(vec![(near(2), f32::NAN)]), "score of feedback"),
        (feedback(vec![]).coefficients(1.0, -1.0, 1.0), "coefficients of feedback"),
        (feedback(vec![]).coefficients(f32::INFINITY, 1.0, 1.0), "coefficients of feedback"),
        (feedback(vec![(near(2), 1e30), (near(3), -1e30)]).coefficients(1.0, 10.0, 1.0), "at most 1e18"),
        (feedback(vec![(near(2), 0.5); crate::EXAMPLES_MAX + 1]), "number of examples: 1025"),
    ] {
        let error = on.query(&Query::feedback(feedback)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn prefetches_by_the_index_are_ranked_exactly() {
    let (_disk, on) = indexed();
    let inner = |id: u64| Query::nearest(vector(id, 55)).k(25);
    let found: BTreeSet<PointId> =
        [3, 4].iter().flat_map(|&id| ids(&on.query(&inner(id)).unwrap())).collect();
    let outer = Query::nearest(vector(5, 55)).k(10).prefetch(inner(3)).prefetch(inner(4));
    let answer = on.query(&outer).unwrap();
    assert_eq!((answer.report.strategy, answer.hits.len()), (Strategy::Prefetched, 10));
    assert!(answer.report.lists > 0 && answer.report.reads > 0, "{:?}", answer.report);
    let of_found = Filter::must([Condition::has_id(found)]);
    let right = on.query(&Query::nearest(vector(5, 55)).filter(of_found).target_recall(1.0)).unwrap();
    assert_eq!(answer.hits, right.hits);
}

#[test]
fn a_question_has_limits() {
    let (_disk, on) = indexed();
    let query = || Query::nearest(vector(5, 55));
    let free = on.query(&query()).unwrap();
    assert_eq!((free.report.strategy, free.report.cut), (Strategy::Index, false));
    for lists in [1, 3] {
        let few = on.query(&query().nprobe(lists)).unwrap().report;
        assert_eq!((few.strategy, few.lists, few.cut), (Strategy::Index, lists as u64, false));
    }
    // What the cache has is not read, so the other questions are asked of vectors that nobody asked for yet.
    let few = on.query(&Query::nearest(vector(977, 55)).max_bytes_read(4096)).unwrap();
    assert!(few.report.cut && few.report.pages <= 1, "{:?}", few.report);
    let late = on.query(&Query::nearest(vector(1977, 55)).max_us(0)).unwrap();
    assert!(late.report.cut, "{:?}", late.report);
    for (query, part) in [
        (query().nprobe(0), "nprobe: 0; expected 1 or more"),
        (query().k(0), "k: 0; expected 1 to"),
        (query().k(1 << 20).offset(1), "k: 1048576 + 1"),
        (query().score_threshold(f32::NAN), "score threshold"),
        (Query::all().mmr(crate::Mmr::new(0.5)), "mmr: with another question"),
        (query().prefetch(query().k(1 << 20)).prefetch(query()), "points of all prefetches"),
    ] {
        let error = on.query(&query).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
