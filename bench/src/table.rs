//! The table that is printed: medians over the rounds, with the least and the most.

use crate::load::Outcome;

/// What one program did in one row, round by round.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cell {
    /// Microseconds of CPU for each request.
    pub(crate) cpu_us: Vec<f64>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Cell {
    fn line(&self, name: &str, reference: f64) -> String {
        let of = |part: fn(&Outcome) -> f64| median(self.outcomes.iter().map(part).collect());
        let (least, most) =
            self.cpu_us.iter().fold((f64::MAX, 0.0_f64), |(least, most), us| (least.min(*us), most.max(*us)));
        let cpu = median(self.cpu_us.clone());
        let errors = self.outcomes.iter().fold(0.0, |all, outcome| all + outcome.errors);
        format!(
            "  {name:<12} {cpu:>8.1} [{least:>6.1} {most:>6.1}] {:>7.2} {:>9.0} {:>8.0} {:>8.0} {errors:>7.0}",
            cpu / reference,
            of(|outcome| outcome.requests / outcome.seconds),
            of(|outcome| outcome.p50_us),
            of(|outcome| outcome.p99_us),
        )
    }
}

/// Prints one row: a line for each program; ratios are to the first.
pub(crate) fn print(row: &str, cells: &[(String, Cell)]) {
    println!("\n{row}");
    println!(
        "  {:<12} {:>8} [{:>6} {:>6}] {:>7} {:>9} {:>8} {:>8} {:>7}",
        "", "CPU us", "least", "most", "ratio", "req/s", "p50 us", "p99 us", "errors"
    );
    let reference = cells.first().map_or(1.0, |(_, cell)| median(cell.cpu_us.clone()));
    for (name, cell) in cells {
        println!("{}", cell.line(name, reference));
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
