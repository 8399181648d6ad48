//! What tells systems apart: colour, shape and dashes, so that none of them is needed to see the others.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::plot::svg::Px;

/// Colours that stay apart for colour-blind eyes and on white (after Okabe and Ito).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];
/// Dashes of the lines, a new one each time the colours are through.
const DASHES: [&str; 3] = ["none", "6 3", "2 3"];
/// One more than there are colours, so that pairs come again late.
const SHAPES: [Shape; 8] = [
    Shape::Circle,
    square(0.5),
    Shape::Star { corners: 3, outer: 1.3, inner: 0.65, turn: 0.0 },
    square(0.0),
    Shape::Star { corners: 3, outer: 1.3, inner: 0.65, turn: 0.5 },
    Shape::Star { corners: 4, outer: 1.5, inner: 0.55, turn: 0.5 },
    Shape::Star { corners: 5, outer: 1.5, inner: 0.65, turn: 0.0 },
    Shape::Star { corners: 4, outer: 1.5, inner: 0.55, turn: 0.0 },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Circle,
    /// Corners on one circle, and between them on another, so large that all shapes look alike in size; all turned by
    /// a part of the angle from corner to corner.
    Star {
        corners: u32,
        outer: f64,
        inner: f64,
        turn: f64,
    },
}

const fn square(turn: f64) -> Shape {
    Shape::Star { corners: 4, outer: 1.2, inner: 1.2 * FRAC_1_SQRT_2, turn }
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Style {
    pub(crate) color: &'static str,
    pub(crate) dashes: &'static str,
    pub(crate) width: f64,
    shape: Shape,
    radius: f64,
}

impl Style {
    /// The style of a series by its number; the first stands out.
    pub(crate) fn of(number: usize) -> Self {
        Self {
            color: COLORS[number % COLORS.len()],
            dashes: DASHES[number / COLORS.len() % DASHES.len()],
            width: if number == 0 { 2.8 } else { 1.6 },
            shape: SHAPES[number % SHAPES.len()],
            radius: if number == 0 { 5.0 } else { 4.4 },
        }
    }

    /// The outline of a marker around a point.
    pub(crate) fn marker(&self, x: f64, y: f64) -> String {
        match self.shape {
            Shape::Circle => {
                let (start, r, across) = (Px(x - self.radius), Px(self.radius), Px(2.0 * self.radius));
                format!("M{start},{}a{r},{r} 0 1,0 {across},0a{r},{r} 0 1,0 -{across},0z", Px(y))
            }
            Shape::Star { corners, outer, inner, turn } => {
                let place = |i: u32| {
                    let angle = PI * (f64::from(i) + 2.0 * turn) / f64::from(corners);
                    let far = self.radius * if i.is_multiple_of(2) { outer } else { inner };
                    format!("{},{}", Px(x + far * angle.sin()), Px(y - far * angle.cos()))
                };
                let places: Vec<String> = (0..2 * corners).map(place).collect();
                format!("M{}z", places.join("L"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_systems_look_different() {
        let looks: Vec<_> = (0..50).map(Style::of).map(|s| (s.color, s.dashes, s.marker(0.0, 0.0))).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "{i}: {look:?}");
        }
    }

    #[test]
    fn markers_lie_around_their_point() {
        let square = Style::of(1).marker(100.0, 50.0);
        assert_eq!(square.matches('L').count(), 7, "{square}");
        assert!(square.starts_with("M103.7,46.3L"), "{square}");
        assert!(Style::of(0).marker(100.0, 50.0).starts_with("M95,50a5,5 "));
    }
}
