//! What a run has printed, read again.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use crate::{NAME_WIDTH, RATIOS};

/// A run.
pub(crate) struct Printed {
    /// Its first line.
    pub(crate) title: String,
    /// What plain rows reach.
    pub(crate) plain: Figures,
    /// All methods, in their order.
    pub(crate) methods: Vec<Method>,
}

/// A method, and what it reaches at each of the ratios; nothing where it does not get there.
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) figures: Vec<Option<Figures>>,
}

/// What is of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) bytes: f64,
    pub(crate) auc: f64,
    deviation: f64,
}

impl Printed {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let title = text.lines().next().context("nothing was printed")?.to_owned();
        let mut methods: Vec<Method> = Vec::new();
        // Behind the title and the names of columns.
        for line in text.lines().skip(2) {
            let at = line.char_indices().nth(NAME_WIDTH).map(|(at, _)| at);
            let (name, figures) = line.split_at(at.with_context(|| format!("no line of a run: {line}"))?);
            let (name, figures) = (name.trim(), read_figures(figures));
            match methods.last_mut() {
                Some(last) if last.name == name => last.figures.push(figures),
                _ => methods.push(Method { name: name.to_owned(), figures: vec![figures] }),
            }
        }
        ensure!(methods.len() > 1, "no figures of a method");
        let plain = methods.remove(0).figures[0].context("no figures of plain rows")?;
        let odd = methods.iter().find(|method| method.figures.len() != RATIOS.len());
        ensure!(odd.is_none(), "not all ratios of {:?}", odd.map(|method| &method.name));
        Ok(Self { title, plain, methods })
    }

    /// Mean and deviation of the AUC by method and ratio, in Markdown; a ratio in brackets where it is another than asked for.
    pub(crate) fn table(&self) -> Result<String> {
        let mut out = format!("{}; plain f32: {}\n\n", self.title, self.plain.auc());
        let ratios = RATIOS.map(|ratio| format!(" {ratio}x |"));
        writeln!(out, "| method |{}\n|---|{}", ratios.concat(), "---|".repeat(RATIOS.len()))?;
        for Method { name, figures } in &self.methods {
            write!(out, "| {name} |")?;
            for (figures, asked) in figures.iter().zip(RATIOS) {
                let ratio = figures.map_or(0.0, |figures| self.plain.bytes / figures.bytes);
                match figures {
                    None => write!(out, " – |")?,
                    Some(figures) if ratio < asked as f64 * 1.05 => write!(out, " {} |", figures.auc())?,
                    Some(figures) => write!(out, " {} ({ratio:.1}x) |", figures.auc())?,
                }
            }
            writeln!(out)?;
        }
        Ok(out)
    }
}

impl Figures {
    fn auc(&self) -> String {
        format!("{:.4} ±{:.4}", self.auc, self.deviation).replace("0.", ".")
    }
}

/// Ratio, bytes, AUC and its deviation; none where an error is in their place.
fn read_figures(text: &str) -> Option<Figures> {
    let mut words = text.split_whitespace().skip(1);
    let mut number = |prefix: &str| words.next()?.strip_prefix(prefix)?.parse::<f64>().ok();
    Some(Figures { bytes: number("")?, auc: number("")?, deviation: number("±")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Score;

    #[test]
    fn what_is_printed_is_read() {
        let score = |auc| Score { auc, loss: 0.5, rare: 0.25 };
        let mut text = String::from("set: 3 ids\nmethod   x\n");
        text += &crate::line("f32", 1000, 1000, &[score(0.9)]);
        for (at, ratio) in RATIOS.into_iter().enumerate() {
            let what =
                if at == 2 { Err(anyhow::anyhow!("5 bytes needed")) } else { Ok(vec![(score(0.8), 300)]) };
            text += &crate::report("a, at length", ratio, 1000, what);
        }
        let printed = Printed::read(&text).unwrap();
        let table = printed.table().unwrap();
        assert_eq!((printed.plain.bytes, printed.plain.auc, printed.methods.len()), (1000.0, 0.9, 1));
        assert!(table.contains("| a, at length | .8000 ±.0000 (3.3x) | .8000 ±.0000 | – | .8000"), "{table}");
        assert!(Printed::read(text.trim_end().rsplit_once('\n').unwrap().0).is_err());
        assert!(crate::plot::svg(&printed).unwrap().contains(">a, at length<"));
    }
}
