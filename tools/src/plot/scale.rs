//! From values to positions: the two scales of a panel, and their ticks.

use crate::size;

/// Recalls nearer to 1 than this are drawn at 1.
const MISS_MIN: f64 = 2.5e-4;
/// Recalls below are left out of the picture, unless all are. A target of 0.8 may be missed by a little.
pub(crate) const RECALL_MIN: f64 = 0.75;
/// Where the recall axis may begin and end, and whether it is always labelled there.
const RECALLS: [(f64, bool); 10] = [
    (0.0, true),
    (0.5, true),
    (0.8, true),
    (0.9, true),
    (0.95, true),
    (0.98, false),
    (0.99, true),
    (0.995, false),
    (0.999, true),
    (1.0, true),
];
/// Up to so many nines, all recalls have room for their labels.
const NINES_LABELLED: f64 = 2.0;
/// Part of an axis that stays free at either end.
const PADDING: f64 = 0.04;
/// From so many decades on, only powers of ten are labelled.
const DECADES_LABELLED: f64 = 2.5;

/// A mark on an axis; without a label it is a fine line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: Option<String>,
}

/// An axis: where values lie between 0 and 1, and what is marked.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    measure: fn(f64) -> f64,
    from: f64,
    low: f64,
    high: f64,
    pub(crate) ticks: Vec<Tick>,
}

impl Axis {
    /// The axis of recall: the same step from 0.9 to 0.99 as from 0.99 to 0.999. None without values.
    pub(crate) fn recall(recalls: &[f64]) -> Option<Self> {
        let (_, high) = range(recalls)?;
        let shown = recalls.iter().copied().filter(|&recall| high < RECALL_MIN || recall >= RECALL_MIN);
        let low = shown.fold(high, f64::min);
        let begin = if low < RECALL_MIN { low } else { low.max(0.8) };
        let first = RECALLS.iter().rposition(|&(tick, _)| tick <= begin)?.min(RECALLS.len() - 2);
        let last = RECALLS.iter().position(|&(tick, _)| tick >= high)?.max(first + 1);
        let ticks = &RECALLS[first..=last];
        let wide = nines(RECALLS[last].0) - nines(RECALLS[first].0) > NINES_LABELLED;
        let tick = |&(value, always): &(f64, bool)| Tick {
            value,
            label: (always || !wide).then(|| value.to_string()),
        };
        Some(Self::over(nines, low, ticks.iter().map(tick).collect()))
    }

    /// The axis of values above 0, in logarithmic steps. None without values.
    pub(crate) fn log(values: &[f64]) -> Option<Self> {
        let (low, high) = range(values)?;
        let first = (low.log10() * 3.0).floor() as i32 - 2;
        let last = (high.log10() * 3.0).ceil() as i32 + 2;
        let steps: Vec<f64> = (first..=last).map(step).collect();
        let from = steps.iter().rposition(|&step| step <= low)?;
        let to = steps.iter().position(|&step| step >= high)?.max(from + 1);
        let wide = steps.get(to)?.log10() - steps.get(from)?.log10() > DECADES_LABELLED;
        let tick = |at: usize| {
            let value = steps[at];
            let labelled = !wide || (first + at as i32).rem_euclid(3) == 0;
            Tick { value, label: labelled.then(|| label(value)) }
        };
        Some(Self::over(f64::log10, low, (from..=to).map(tick).collect()))
    }

    /// An axis from the first tick, or the lowest value if that lies before it, to the last.
    fn over(measure: fn(f64) -> f64, lowest: f64, ticks: Vec<Tick>) -> Self {
        let from = ticks.first().map_or(lowest, |first| first.value.min(lowest));
        let to = ticks.last().map_or(lowest, |last| last.value);
        let (low, high) = (measure(from), measure(to));
        let free = (high - low) * PADDING;
        Self { measure, from, low: low - free, high: high + free, ticks }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        ((self.measure)(value) - self.low) / (self.high - self.low)
    }

    /// Whether a value is not before the axis begins.
    pub(crate) fn shows(&self, value: f64) -> bool {
        value >= self.from
    }
}

/// How many nines a recall has: 1 for 0.9, 2 for 0.99, 3 for 0.999.
fn nines(recall: f64) -> f64 {
    -(1.0 - recall).max(MISS_MIN).log10()
}

/// The steps 1, 2, 5, 10, 20, 50 …, numbered so that 1 has 0.
fn step(number: i32) -> f64 {
    let digit = [1, 2, 5][number.rem_euclid(3) as usize];
    // parsed, so that 0.05 is the number people write so
    format!("{digit}e{}", number.div_euclid(3)).parse().unwrap_or(f64::NAN)
}

/// A number as people write it, however large or small.
pub(crate) fn label(value: f64) -> String {
    match value {
        v if (1e3..1e9).contains(&v) => size::count(v.round() as u64),
        v if (1e-3..1e3).contains(&v) => v.to_string(),
        v => format!("{v:e}"),
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().filter_map(|tick| tick.label.clone()).collect()
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let axis = Axis::recall(&[0.85, 0.9991]).unwrap();
        assert_eq!(labels(&axis), ["0.8", "0.9", "0.95", "0.99", "0.999", "1"]);
        assert_eq!(axis.ticks.len(), 8);
        let (a, b, c) = (axis.at(0.9), axis.at(0.99), axis.at(0.999));
        assert!((2.0 * b - a - c).abs() < 1e-9 && a < b && b < c, "{a} {b} {c}");
        assert_eq!(axis.at(1.0), axis.at(0.99999));
        assert!((axis.at(0.8) + axis.at(1.0) - 1.0).abs() < 1e-9 && axis.at(0.8) > 0.0);
    }

    #[test]
    fn the_recall_axis_fits_what_is_shown() {
        let check = |recalls: &[f64], first: &str, last: &str| {
            let labels = labels(&Axis::recall(recalls).unwrap());
            assert_eq!((&labels[0][..], &labels[labels.len() - 1][..]), (first, last), "{recalls:?}");
        };
        check(&[0.91, 0.985], "0.9", "0.99");
        check(&[0.91, 0.991], "0.9", "0.995");
        check(&[0.2, 0.85, 0.95], "0.8", "0.95");
        check(&[0.2, 0.7], "0", "0.8");
        check(&[0.0], "0", "0.5");
        check(&[0.9], "0.9", "0.95");
        check(&[1.0], "0.999", "1");
        assert!(Axis::recall(&[]).is_none());
        let axis = Axis::recall(&[0.2, 0.8, 0.95]).unwrap();
        assert!(!axis.shows(0.2) && axis.shows(0.8) && axis.shows(0.95));
        let axis = Axis::recall(&[0.2, 0.79, 0.95]).unwrap();
        assert!(!axis.shows(0.2) && axis.shows(0.79) && axis.at(0.79) > 0.0, "{axis:?}");
        assert_eq!(labels(&axis)[0], "0.8");
    }

    #[test]
    fn decades_are_equally_far_apart() {
        let axis = Axis::log(&[130.0, 4_200.0]).unwrap();
        assert_eq!(labels(&axis), ["100", "200", "500", "1,000", "2,000", "5,000"]);
        assert!((axis.at(1_000.0) - axis.at(100.0) - axis.at(2_000.0) + axis.at(200.0)).abs() < 1e-9);
        assert!(axis.at(100.0) > 0.0 && axis.at(5_000.0) < 1.0);
        let wide = Axis::log(&[0.004, 70.0]).unwrap();
        assert_eq!(labels(&wide), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(wide.ticks.len(), 15);
    }

    #[test]
    fn one_value_and_extreme_values_have_an_axis() {
        assert_eq!(labels(&Axis::log(&[5.0]).unwrap()), ["5", "10"]);
        assert_eq!(labels(&Axis::log(&[0.07]).unwrap()), ["0.05", "0.1"]);
        for value in [f64::MIN_POSITIVE, 1e-9, 1e12, 1e300] {
            let axis = Axis::log(&[value]).unwrap();
            assert!((0.0..=1.0).contains(&axis.at(value)), "{value}: {axis:?}");
        }
        assert!(Axis::log(&[]).is_none());
    }
}
