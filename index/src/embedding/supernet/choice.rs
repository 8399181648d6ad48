//! One width a field, within so many bytes.

/// Halvings of the range in which the price of a byte is looked for.
const HALVINGS: usize = 100;

/// The choices, one a field, whose logarithms of chances add up to the most among all that cost as much or less. At a price for
/// each byte every field chooses for itself, so the price alone is looked for: the least at which all costs are within the
/// budget (Everett, "Generalized Lagrange Multiplier Method", Operations Research 1963). Of equals the first.
///
/// `logits` and `costs` are `[field][choice]`, costs ascending in each field.
///
/// # Errors
/// The least bytes that would do, when these are too few.
pub(super) fn likeliest(
    logits: &[f32],
    costs: &[u64],
    choices: usize,
    budget_bytes: u64,
) -> Result<Vec<usize>, u64> {
    let total = |choice: &[usize]| -> u64 {
        let costs = choice.iter().zip(costs.chunks(choices)).map(|(&at, costs)| costs[at]);
        costs.fold(0, u64::saturating_add)
    };
    let mut best = vec![0; logits.len() / choices];
    if total(&best) > budget_bytes {
        return Err(total(&best));
    }
    // Costs differ by a byte or more: at the high price no field has more than its first choice.
    let span = logits.iter().fold([0f64; 2], |[low, high], &x| [low.min(x.into()), high.max(x.into())]);
    let (mut low, mut high) = (0.0, span[1] - span[0]);
    let free = best_at(logits, costs, choices, low);
    if total(&free) <= budget_bytes {
        return Ok(free);
    }
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        let choice = best_at(logits, costs, choices, middle);
        if total(&choice) <= budget_bytes {
            (high, best) = (middle, choice);
        } else {
            low = middle;
        }
    }
    Ok(best)
}

/// The choice of each field that is worth most at a price for each byte.
fn best_at(logits: &[f32], costs: &[u64], choices: usize, price: f64) -> Vec<usize> {
    let best = |(logits, costs): (&[f32], &[u64])| {
        let worth = |at: usize| f64::from(logits[at]) - price * costs[at] as f64;
        (1..choices).fold(0, |best, at| if worth(at) > worth(best) { at } else { best })
    };
    logits.chunks(choices).zip(costs.chunks(choices)).map(best).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All choices of so many fields.
    fn all(fields: u32, choices: usize) -> impl Iterator<Item = Vec<usize>> {
        let count = choices.pow(fields);
        (0..count).map(move |n| (0..fields).map(|field| n / choices.pow(field) % choices).collect())
    }

    proptest! {
        #[test]
        fn nothing_likelier_costs_as_little(
            fields in 1u32..5,
            choices in 1usize..5,
            values in prop::collection::vec((-4i8..5, 1u64..9), 16),
            budget in 0u64..80,
        ) {
            let len = fields as usize * choices;
            let logits: Vec<f32> = values[..len].iter().map(|value| f32::from(value.0)).collect();
            let mut costs: Vec<u64> = values[..len].iter().map(|value| value.1).collect();
            for costs in costs.chunks_mut(choices) {
                (1..choices).for_each(|at| costs[at] += costs[at - 1]);
            }
            let of = |choice: &[usize]| -> (f32, u64) {
                let at = |(field, &at): (usize, &usize)| field * choices + at;
                let places: Vec<usize> = choice.iter().enumerate().map(at).collect();
                (places.iter().map(|&at| logits[at]).sum(), places.iter().map(|&at| costs[at]).sum())
            };
            let least: u64 = costs.iter().step_by(choices).sum();
            match likeliest(&logits, &costs, choices, budget) {
                Err(needed) => prop_assert!(needed == least && needed > budget),
                Ok(found) => {
                    let (worth, cost) = of(&found);
                    prop_assert!(cost <= budget);
                    for other in all(fields, choices) {
                        let (other_worth, other_cost) = of(&other);
                        prop_assert!(other_cost > cost || other_worth <= worth, "{:?} {:?}", found, other);
                    }
                }
            }
        }
    }
}
