//! Interest as an inference of the Open Inference Protocol: tensors in, tensors out.

use axum::response::Response;
use axum::routing::{MethodFilter, on};
use nearline::Candidates;

use super::read::{check_size, dim_of, reader};
use super::{of, space};
use crate::app::Kind;
use crate::call::{Call, Incoming, on_pool};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::behavior::MomentIn;
use crate::rights::Access;
use crate::rows::BARE;
use crate::table::{Body, Endpoint, Routes, shape};
use crate::tensors::{InferIn, Inference, Numbers, Tensor};

pub(super) fn routes() -> Routes {
    let router = on(MethodFilter::POST, |incoming: Incoming| {
        on_pool(Kind::Search, incoming, |call, content| infer(&call, &content))
    });
    // The answer is the protocol's, without our envelope.
    let infer =
        Endpoint::new(MethodFilter::POST, Access::Read, Body::Either(shape::<InferIn>, &[BARE]), router)
            .takes::<MomentIn>()
            .says("The interest of users in candidates, by tensors of the Open Inference Protocol");
    Routes::new().route(of("infer"), infer)
}

fn infer(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let mut inference = Inference::read(content)?;
    let reader = reader(&space, call.params()?)?;
    let users = counts(inference.take("users").ok_or_else(|| missing("users"))?)?;
    let lengths = inference.take("lengths").map(counts).transpose()?;
    let (items, vectors) = (inference.take("items"), inference.take("candidates"));
    inference.check_taken("users, lengths, items or candidates")?;
    let dim = reader.shape().dim();
    let asked = match (items, vectors) {
        (Some(items), None) => Asked::new(items, 1)?,
        (None, Some(vectors)) => Asked::new(vectors, dim)?,
        _ => return Err(missing("items or candidates, one of them")),
    };
    let lengths = asked.lengths(users.len(), lengths)?;
    check_size(call, asked.count, dim)?;
    let found = reader.interests(&asked.questions(&users, &lengths))?;
    let dim = dim_of(found.values.len(), asked.count, dim);
    let shape = [&asked.rows[..], &[dim]].concat();
    let lengths = found.lengths.iter().map(|&length| length as u64).collect();
    let outputs = [
        Tensor { name: "interest".to_owned(), shape, numbers: Numbers::Floats(found.values) },
        Tensor { name: "lengths".to_owned(), shape: vec![users.len()], numbers: Numbers::Counts(lengths) },
    ];
    inference.answer(call.name("space"), &outputs)
}

fn missing(expected: &str) -> ApiError {
    ApiError::bad_request(format_args!("inputs: expected {expected}"))
}

/// The integers of a tensor.
fn counts(tensor: Tensor) -> Result<Vec<u64>, ApiError> {
    match tensor.numbers {
        Numbers::Counts(counts) => Ok(counts),
        Numbers::Floats(_) => {
            Err(ApiError::bad_request(format_args!("input {:?}: expected INT64 or UINT64", tensor.name)))
        }
    }
}

/// Candidates of all users, back to back.
struct Asked {
    /// All dimensions but that of vectors: `[candidates]`, or `[users, candidates of each]`.
    rows: Vec<usize>,
    count: usize,
    /// How many numbers a candidate is.
    each: usize,
    numbers: Numbers,
}

impl Asked {
    /// Items, each one number, or vectors of so many numbers.
    fn new(Tensor { name, shape, numbers }: Tensor, each: usize) -> Result<Self, ApiError> {
        let bad =
            |expected: String| ApiError::bad_request(format_args!("input {name:?}: expected {expected}"));
        let (rows, is_right) = match (&numbers, shape.split_last()) {
            (Numbers::Counts(_), _) => (&shape[..], name == "items"),
            (Numbers::Floats(_), Some((last, rows))) => (rows, name == "candidates" && *last == each),
            (Numbers::Floats(_), None) => (&shape[..], false),
        };
        if !is_right || !(1..=2).contains(&rows.len()) {
            return Err(bad(match name.as_str() {
                "items" => format!("INT64 or UINT64 of one or two dimensions, found {shape:?}"),
                _ => format!(
                    "FP32 of shape [candidates, {each}] or [users, candidates, {each}], found {shape:?}"
                ),
            }));
        }
        Ok(Self { rows: rows.to_vec(), count: rows.iter().product(), each, numbers })
    }

    /// How many candidates each of so many users has.
    fn lengths(&self, users: usize, given: Option<Vec<u64>>) -> Result<Vec<usize>, ApiError> {
        let bad = |what: std::fmt::Arguments<'_>| ApiError::bad_request(format_args!("inputs: {what}"));
        match (given, &self.rows[..]) {
            (Some(lengths), [all]) => {
                let sum = lengths.iter().try_fold(0u64, |sum, &length| sum.checked_add(length));
                if lengths.len() != users || sum != Some(*all as u64) {
                    return Err(bad(format_args!(
                        "{} lengths; expected one for each of {users} users, {all} in all",
                        lengths.len()
                    )));
                }
                Ok(lengths.into_iter().map(|length| length as usize).collect())
            }
            (None, [all]) if users == 1 => Ok(vec![*all]),
            (None, [of, each]) if *of == users => Ok(vec![*each; users]),
            (None, [of, _]) => Err(bad(format_args!("candidates of {of} users; expected {users}"))),
            (None, _) => Err(bad(format_args!("expected lengths, or candidates of shape [users, …]"))),
            (Some(_), _) => {
                Err(bad(format_args!("lengths with candidates of shape [users, …]; expected one of them")))
            }
        }
    }

    fn questions(&self, users: &[u64], lengths: &[usize]) -> Vec<(u64, Candidates<'_>)> {
        let mut first = 0;
        let question = |(&user, &length): (&u64, &usize)| {
            let own = first * self.each..(first + length) * self.each;
            first += length;
            let candidates = match &self.numbers {
                Numbers::Counts(items) => Candidates::Items(&items[own]),
                Numbers::Floats(vectors) => Candidates::Vectors(&vectors[own]),
            };
            (user, candidates)
        };
        users.iter().zip(lengths).map(question).collect()
    }
}
