//! Learned positions of a grid of patches that were made for another grid.

use super::names::NameMap;

/// Positions `[leading + side², d]` of one square grid, wanted for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tokens in front of the grid, which are left as they are: a class token is one.
    pub leading: usize,
    /// The side of the checkpoint's grid, in patches.
    pub from: usize,
    /// The side of the grid that is wanted.
    pub to: usize,
}

/// A cubic convolution's one free number, as PyTorch's bicubic `interpolate` has it.
const A: f64 = -0.75;

impl Grid {
    /// What leads from positions of the shape `from` to those of the shape `to`; `None` where `tables` do not say that
    /// `ours` are positions of a grid, where their width is another one, or where one of them is no square grid.
    pub(super) fn between(tables: &[&NameMap], ours: &str, from: &[usize], to: &[usize]) -> Option<Self> {
        let leading = leading(tables, ours)?;
        let ([from @ .., from_width], [to @ .., to_width]) = (from, to) else { return None };
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        let side = |dims| count(dims).checked_sub(leading).map(usize::isqrt).filter(|side| *side > 0);
        let (from_side, to_side) = (side(from)?, side(to)?);
        let square = |dims, side: usize| count(dims) == leading + side * side;
        (from_width == to_width && square(from, from_side) && square(to, to_side)).then_some(Self {
            leading,
            from: from_side,
            to: to_side,
        })
    }

    /// The positions of the wanted grid, bicubically between those of the other as PyTorch's `interpolate` has it with
    /// `align_corners = False`: the corners of the grids' outer patches meet, and beyond its edge a grid goes on as it
    /// ends. DeiT resizes positions so when it is fine-tuned.
    pub fn resize(&self, positions: &[f32]) -> Vec<f32> {
        let width = positions.len() / (self.leading + self.from * self.from);
        let (leading, grid) = positions.split_at(self.leading * width);
        let taps: Vec<[(usize, f64); 4]> = (0..self.to).map(|at| self.taps(at)).collect();
        let mut out = leading.to_vec();
        for rows in &taps {
            for columns in &taps {
                out.extend((0..width).map(|channel| {
                    let value =
                        |row: usize, column: usize| f64::from(grid[(row * self.from + column) * width + channel]);
                    let row =
                        |row: usize| columns.iter().map(|(column, weight)| weight * value(row, *column)).sum::<f64>();
                    rows.iter().map(|(at, weight)| weight * row(*at)).sum::<f64>() as f32
                }));
            }
        }
        out
    }

    /// The four places along an axis that place `at` of the wanted grid lies between, with their weights.
    fn taps(&self, at: usize) -> [(usize, f64); 4] {
        let place = (at as f64 + 0.5) * self.from as f64 / self.to as f64 - 0.5;
        let part = place - place.floor();
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
        std::array::from_fn(|i| {
            let tap = (place.floor() + i as f64 - 1.0).clamp(0.0, (self.from - 1) as f64);
            (tap as usize, weights[i])
        })
    }
}

/// How many tokens stand in front of the grid whose positions are called `ours`, by the first table that knows them.
pub(super) fn leading(tables: &[&NameMap], ours: &str) -> Option<usize> {
    tables.iter().find_map(|table| table.theirs(ours)).and_then(|tokens| tokens.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> NameMap {
        NameMap { name: "grid_positions".into(), pairs: vec![("pos".into(), "1".into()), ("bare".into(), "0".into())] }
    }

    #[test]
    fn square_grids_of_one_width_lead_to_each_other() {
        let table = table();
        let between = |ours: &str, from: &[usize], to: &[usize]| Grid::between(&[&table], ours, from, to);
        assert_eq!(between("pos", &[1, 197, 8], &[577, 8]), Some(Grid { leading: 1, from: 14, to: 24 }));
        assert_eq!(between("bare", &[4, 8], &[9, 8]), Some(Grid { leading: 0, from: 2, to: 3 }));
        for (from, to) in
            [([196, 8], [577, 8]), ([197, 8], [576, 8]), ([197, 8], [577, 9]), ([1, 8], [5, 8]), ([0, 8], [5, 8])]
        {
            assert_eq!(between("pos", &from, &to), None, "{from:?} to {to:?}");
        }
        assert_eq!(between("other", &[197, 8], &[577, 8]), None);
        assert_eq!(between("pos", &[], &[]), None);
    }

    #[test]
    fn a_grid_of_its_own_size_stays_and_an_even_one_stays_even() {
        let positions: Vec<f32> = (0..10 * 2).map(|i| (i * i % 7) as f32).collect();
        assert_eq!(Grid { leading: 1, from: 3, to: 3 }.resize(&positions), positions);
        let even = Grid { leading: 0, from: 2, to: 5 }.resize(&[2.5; 4]);
        assert!(even.len() == 25 && even.iter().all(|x| (x - 2.5).abs() < 1e-6), "{even:?}");
    }
}
