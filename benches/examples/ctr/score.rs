//! How good predictions are.

use std::fmt;

use crate::data::Data;

/// What is measured on the test rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    pub(crate) auc: f64,
    pub(crate) loss: f64,
    /// AUC of the fifth of the rows whose rarest id was seen least.
    pub(crate) rare: f64,
}

impl Score {
    pub(crate) fn of(logits: Vec<f32>, data: &Data) -> Self {
        let labels: Vec<bool> = data.test.iter().map(|&row| data.labels[row]).collect();
        let mut by_rarity: Vec<usize> = (0..logits.len()).collect();
        let rarest =
            |at: usize| data.row(data.test[at]).iter().map(|&id| data.frequencies[id as usize]).min();
        by_rarity.sort_by_key(|&at| (rarest(at), at));
        by_rarity.truncate(logits.len() / 5);
        let pick = |at: &usize| (logits[*at], labels[*at]);
        let all: Vec<(f32, bool)> = (0..logits.len()).map(|at| pick(&at)).collect();
        let rare: Vec<(f32, bool)> = by_rarity.iter().map(pick).collect();
        Self { auc: auc(all), loss: loss(&logits, &labels), rare: auc(rare) }
    }
}

/// The mean of `-ln p` of what was.
pub(crate) fn loss(logits: &[f32], labels: &[bool]) -> f64 {
    let one = |(&logit, &label): (&f32, &bool)| {
        let signed = f64::from(if label { -logit } else { logit });
        signed.max(0.0) + (-signed.abs()).exp().ln_1p()
    };
    logits.iter().zip(labels).map(one).sum::<f64>() / logits.len().max(1) as f64
}

/// The chance that a clicked row is above one that was not; ties count half.
fn auc(mut rows: Vec<(f32, bool)>) -> f64 {
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = rows.iter().filter(|row| row.1).count() as f64;
    let negatives = rows.len() as f64 - positives;
    let (mut below, mut sum) = (0.0, 0.0);
    for equal in rows.chunk_by(|a, b| a.0 == b.0) {
        let here = equal.iter().filter(|row| row.1).count() as f64;
        let others = equal.len() as f64 - here;
        sum += here * (below + others / 2.0);
        below += others;
    }
    sum / (positives * negatives)
}

/// Mean and standard deviation.
pub(crate) struct Summary(f64, f64);

impl Summary {
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count().max(1) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let square = values.map(|x| (x - mean) * (x - mean)).sum::<f64>();
        Self(mean, (square / (count - 1.0).max(1.0)).sqrt())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.4} ±{:.4}", self.0, self.1))
    }
}
