//! What of training depends on how rows are kept: parameters that gradients move, codes that are chosen anew, or codes alone.

#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use nearline::embedding::{
    Gradients, Optimizer, RowCodec, Rows, Rule, StepCodec, StepTraining, Table, Tiered, TieredTraining,
    Train, UniformCodec, move_row, train,
};

use crate::DIM;
use crate::model::BATCH;

/// How much the centroids of MGQE follow their rows. Nothing else moves them, so that Adam's steps are the same whatever it is.
const PULL: f32 = 1.0;
/// What codes without a step of their own reach to both sides. With 8 bits they are 0.01 apart, as in the comparison of the
/// methods; steps of rows begin with that, too.
const REACH: f32 = 1.28;
/// The learning rate of ALPT's steps, as in the comparison of the methods.
const STEP_RATE: f32 = 2e-5;

/// A table on its way.
pub(crate) trait Learner {
    /// Rows of ids, back to back, as a model is given them.
    fn rows(&mut self, ids: &[u64]) -> Vec<f32>;
    /// Moves along gradients of rows, those of one id added up.
    fn step(&mut self, ids: &[u64], gradients: &[f32]);
    /// The table as it is now.
    fn table(&mut self) -> Box<dyn Table>;
}

impl Learner for Box<dyn Learner> {
    fn rows(&mut self, ids: &[u64]) -> Vec<f32> {
        (**self).rows(ids)
    }

    fn step(&mut self, ids: &[u64], gradients: &[f32]) {
        (**self).step(ids, gradients);
    }

    fn table(&mut self) -> Box<dyn Table> {
        (**self).table()
    }
}

/// The rule that moves everything.
pub(crate) fn adam(rate: f32) -> Rule {
    Rule::Adam { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
}

fn lookup(table: &dyn Table, ids: &[u64]) -> Vec<f32> {
    let mut rows = vec![0.0; ids.len() * DIM];
    table.lookup(ids, &mut rows).expect("ids of the data are the table's");
    rows
}

/// A table that is stored as it is trained.
pub(crate) struct Parameters {
    pub(crate) table: Box<dyn Train>,
    optimizer: Optimizer,
}

impl Parameters {
    pub(crate) fn new(table: impl Train + 'static, rate: f32) -> Result<Self> {
        Ok(Self { optimizer: Optimizer::new(adam(rate), table.shapes())?, table: Box::new(table) })
    }
}

impl Learner for Parameters {
    fn rows(&mut self, ids: &[u64]) -> Vec<f32> {
        lookup(&*self.table, ids)
    }

    fn step(&mut self, ids: &[u64], gradients: &[f32]) {
        train(&mut *self.table, ids, gradients, &mut self.optimizer).expect("gradients are finite");
    }

    fn table(&mut self) -> Box<dyn Table> {
        self.table.boxed()
    }
}

/// MGQE: rows choose their centroids whenever they are asked for, for both have moved since.
pub(crate) struct Tiers {
    training: TieredTraining,
    optimizer: Optimizer,
}

impl Tiers {
    /// Goes on from a table and the rows it was fitted to.
    pub(crate) fn new(table: Tiered, first: Vec<f32>, rate: f32) -> Result<Self> {
        let training = TieredTraining::new(table, first, PULL)?;
        Ok(Self { optimizer: Optimizer::new(adam(rate), training.shapes())?, training })
    }

    fn recode(&mut self, ids: &[u64]) {
        self.training.recode(ids).expect("ids of the data are the table's");
    }
}

impl Learner for Tiers {
    fn rows(&mut self, ids: &[u64]) -> Vec<f32> {
        let mut once = ids.to_vec();
        once.sort_unstable();
        once.dedup();
        self.recode(&once);
        lookup(&self.training, ids)
    }

    fn step(&mut self, ids: &[u64], gradients: &[f32]) {
        train(&mut self.training, ids, gradients, &mut self.optimizer).expect("gradients are finite");
    }

    fn table(&mut self) -> Box<dyn Table> {
        let all: Vec<u64> = (0..self.training.rows()).collect();
        self.recode(&all);
        Box::new(self.training.table().clone())
    }
}

/// A step on codes: rows, ids, directions, the number of the step.
type Step<C> = Box<dyn Fn(&mut Rows<C>, &[u64], &[f32], u64) -> Result<()>>;

/// Rows that are nothing but codes between steps. A step takes directions of Adam where it asks for gradients: those of the
/// mean of a batch would move hardly a code.
pub(crate) struct Codes<C> {
    rows: Rows<C>,
    take: Step<C>,
    /// What Adam remembers of each row.
    state: Vec<f32>,
    steps: u64,
}

impl<C: RowCodec + Clone + 'static> Codes<C> {
    fn new(rows: Rows<C>, budget: u64, take: Step<C>) -> Result<Self> {
        let needed = rows.bytes().total();
        ensure!(needed <= budget, "rows of codes: {needed} bytes; at most {budget} are allowed");
        let state = vec![0.0; rows.rows() as usize * 2 * DIM];
        Ok(Self { rows, take, state, steps: 0 })
    }

    /// Which way Adam moves each row, once an id.
    fn directions(&mut self, ids: &[u64], gradients: &[f32]) -> (Vec<u64>, Vec<f32>) {
        let mut by_id = Gradients::default();
        let pairs = ids.iter().zip(gradients.chunks_exact(DIM));
        pairs.for_each(|(&id, gradient)| by_id.push(0, id, gradient.iter().copied()));
        by_id.coalesce();
        let (mut once, mut directions) = (Vec::new(), Vec::new());
        for (_, id, gradient) in by_id.iter() {
            // Zeros that Adam has moved at a rate of 1 are the direction's negative.
            let mut moved = [0.0; DIM];
            let state = &mut self.state[id as usize * 2 * DIM..][..2 * DIM];
            move_row(adam(1.0), self.steps, &mut moved, gradient, state);
            once.push(id);
            directions.extend(moved.map(|x| -x));
        }
        (once, directions)
    }
}

impl<C: RowCodec + Clone + 'static> Learner for Codes<C> {
    fn rows(&mut self, ids: &[u64]) -> Vec<f32> {
        lookup(&self.rows, ids)
    }

    fn step(&mut self, ids: &[u64], gradients: &[f32]) {
        self.steps += 1;
        let (once, directions) = self.directions(ids, gradients);
        (self.take)(&mut self.rows, &once, &directions, self.steps).expect("directions are finite");
    }

    fn table(&mut self) -> Box<dyn Table> {
        let bytes = self.rows.row_bytes().to_vec();
        Box::new(Rows::from_bytes(self.rows.codec().clone(), bytes).expect("rows are whole"))
    }
}

/// INT8 or INT16: codes on one grid, which does not move.
pub(crate) fn on_grid(
    first: &[f32],
    bits: usize,
    budget: u64,
    rate: f32,
    seed: u64,
) -> Result<Codes<UniformCodec>> {
    let codec = UniformCodec::new(DIM, bits, 2.0 * REACH / (1u32 << bits) as f32, 0.0)?;
    let take: Step<UniformCodec> =
        Box::new(move |rows, ids, directions, number| Ok(rows.train(ids, directions, rate, seed, number)?));
    Codes::new(Rows::encode(codec, first)?, budget, take)
}

/// ALPT with 8 bits. A row fitted to its first values could not grow: its greatest one has the greatest code. So all begin with
/// the same step.
pub(crate) fn with_steps(first: &[f32], budget: u64, rate: f32, seed: u64) -> Result<Codes<StepCodec>> {
    let step = REACH / 128.0;
    let code = |x: &f32| (x / step).round() as i8 as u8;
    let row = |row: &[f32]| row.iter().map(code).chain(step.to_le_bytes()).collect::<Vec<u8>>();
    let rows = Rows::from_bytes(StepCodec::new(DIM, 8)?, first.chunks_exact(DIM).flat_map(row).collect())?;
    let how = StepTraining { rate, step_rate: STEP_RATE, batch: BATCH, seed };
    let take: Step<StepCodec> =
        Box::new(move |rows, ids, directions, number| Ok(rows.train(ids, directions, &how, number)?));
    Codes::new(rows, budget, take)
}
