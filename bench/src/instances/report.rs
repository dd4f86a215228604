//! What is told: medians over the rounds, with the least and the most. Pure, but for the printing.

use super::{
    fit::Fit,
    kind::{Bench, Kind},
    round::{Round, Wake},
};
use crate::table::median;
use serde::Serialize;

/// One runtime's figures.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    runtime: Kind,
    executed_by: String,
    image: Option<String>,
    rounds: u32,
    /// Medians.
    figures: Vec<Figure>,
    /// How many fit into the memory that was asked about.
    fits: Fits,
    checked: Fit,
    /// Everything, round by round.
    measured: Vec<Round>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    unit: &'static str,
    median: f64,
    least: f64,
    most: f64,
    /// Of the whole boot, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Fits {
    memory_bytes: u64,
    /// By what their control groups count.
    awake: u64,
    /// By what the host lost with those that were up together: whatever else it did meanwhile is in it, also more than all of it.
    awake_by_host: Option<u64>,
    asleep_in_memory: u64,
    /// Asleep on disk they take none: it is the disk that they have to fit on.
    asleep_on_disk_bytes_each: Option<u64>,
}

impl Report {
    pub(super) fn new(
        bench: &Bench,
        rounds: u32,
        measured: Vec<Round>,
        checked: Fit,
        memory_mib: Option<u64>,
    ) -> Self {
        let memory_bytes = memory_mib.map_or(checked.available_bytes, |mib| mib << 20);
        Self {
            runtime: bench.kind,
            executed_by: bench.runtime.acceleration().unwrap_or_else(|| bench.runtime.described().to_owned()),
            image: bench.image.as_ref().map(|image| image.version.clone()),
            rounds,
            figures: figures(&measured),
            fits: fits(&measured, &checked, memory_bytes),
            checked,
            measured,
        }
    }
}

fn figures(rounds: &[Round]) -> Vec<Figure> {
    let mut figures = boot(rounds);
    let of = |name: &str, unit, part: &dyn Fn(&Round) -> Option<f64>| {
        figure(name, unit, rounds.iter().filter_map(part).collect())
    };
    let disk = |part: fn(&super::round::Disk) -> f64| move |round: &Round| round.disk.as_ref().map(part);
    figures.extend(
        [
            of("boot: CPU of its processes", "s", &|round| Some(round.boot_cpu_s)),
            of("memory, idle", "MiB", &|round| Some(mib(round.idle_bytes))),
            of("memory, asleep in memory", "MiB", &|round| Some(mib(round.asleep_bytes))),
            of("memory, asleep on disk", "MiB", &disk(|disk| mib(disk.held_bytes))),
            of("snapshot: size on the disk", "MiB", &disk(|disk| mib(disk.bytes))),
            of("snapshot: time to write it", "ms", &disk(|disk| disk.save_ms)),
        ]
        .into_iter()
        .flatten(),
    );
    figures.extend(wakes("wake from memory", rounds.iter().map(|round| &round.from_memory).collect()));
    let from_disk = rounds.iter().filter_map(|round| Some(&round.disk.as_ref()?.wake));
    figures.extend(wakes("wake from disk", from_disk.collect()));
    figures
}

fn wakes(name: &str, all: Vec<&Wake>) -> Vec<Figure> {
    let of = |what: &str, unit, part: fn(&Wake) -> f64| {
        figure(&format!("{name}: {what}"), unit, all.iter().map(|wake| part(wake)).collect())
    };
    let parts = [
        of("agent answers", "ms", |wake| wake.awake_ms),
        of("first 200", "ms", |wake| wake.answer_ms),
        of("CPU of its processes", "s", |wake| wake.cpu_s),
    ];
    parts.into_iter().flatten().collect()
}

/// The stages with their shares, and the whole.
fn boot(rounds: &[Round]) -> Vec<Figure> {
    let whole = |round: &Round| round.stages.iter().map(|(_, ms)| ms).sum::<f64>();
    let all = median(rounds.iter().map(whole).collect());
    let names = rounds.first().map(|round| round.stages.iter().map(|(name, _)| name)).into_iter().flatten();
    let stage = |(place, name): (usize, &String)| {
        let values = rounds.iter().filter_map(|round| Some(round.stages.get(place)?.1)).collect();
        let figure = figure(&format!("boot: {name}"), "ms", values)?;
        Some(Figure { share: (all > 0.0).then(|| figure.median / all * 100.0), ..figure })
    };
    let mut figures: Vec<Figure> = names.enumerate().filter_map(stage).collect();
    figures.extend(figure("boot: sealed release to first 200", "ms", rounds.iter().map(whole).collect()));
    figures
}

fn figure(name: &str, unit: &'static str, values: Vec<f64>) -> Option<Figure> {
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    Some(Figure { name: name.to_owned(), unit, median: median(values), least, most, share: None })
}

/// What one holds decides how many fit: the more of what it holds alone, and of what was seen with several.
fn fits(rounds: &[Round], checked: &Fit, memory_bytes: u64) -> Fits {
    let middle = |part: fn(&Round) -> u64| {
        let mut values: Vec<u64> = rounds.iter().map(part).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let count = |each: u64| memory_bytes.checked_div(each).unwrap_or(0);
    let mut snapshots: Vec<u64> =
        rounds.iter().filter_map(|round| Some(round.disk.as_ref()?.bytes)).collect();
    snapshots.sort_unstable();
    Fits {
        memory_bytes,
        awake: count(middle(|round| round.idle_bytes).max(checked.each_bytes)),
        awake_by_host: memory_bytes.checked_div(checked.host_bytes),
        asleep_in_memory: count(middle(|round| round.asleep_bytes)),
        asleep_on_disk_bytes_each: snapshots.get(snapshots.len() / 2).copied(),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The table.
pub(super) fn print(report: &Report) {
    let image = report.image.as_deref().unwrap_or("the host's own system");
    println!(
        "\n{} ({}) on {image}: medians of {} rounds, with the least and the most",
        report.runtime, report.executed_by, report.rounds
    );
    for line in &report.figures {
        let share = line.share.map(|share| format!("{share:>5.1} %")).unwrap_or_default();
        println!(
            "  {:<38} {:>9.2} {:<4} [{:>9.2} {:>9.2}] {share}",
            line.name, line.median, line.unit, line.least, line.most
        );
    }
    let (fits, checked) = (&report.fits, &report.checked);
    println!(
        "  in {:.0} MiB fit {} idle ones by their control groups{}, or {} asleep in memory{}",
        mib(fits.memory_bytes),
        fits.awake,
        fits.awake_by_host.map(|count| format!(" ({count} by what the host lost)")).unwrap_or_default(),
        fits.asleep_in_memory,
        fits.asleep_on_disk_bytes_each
            .map(|each| format!("; asleep on disk each takes {:.1} MiB of the disk and no memory", mib(each)))
            .unwrap_or_default()
    );
    println!(
        "  checked with {} at once, each of which answered: {:.1} MiB each by its control group, {:.1} MiB by what the host lost",
        checked.started,
        mib(checked.each_bytes),
        mib(checked.host_bytes)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ms: f64, idle: u64) -> Round {
        let wake = Wake { awake_ms: 1.0, answer_ms: 2.0, cpu_s: 0.5 };
        let stages = vec![("a".to_owned(), ms), ("b".to_owned(), 3.0 * ms)];
        Round { stages, boot_cpu_s: 1.0, idle_bytes: idle, asleep_bytes: 100, from_memory: wake, disk: None }
    }

    #[test]
    fn figures_are_medians_with_shares_and_what_was_not_measured_is_not_told() {
        let figures = figures(&[round(1.0, 1), round(9.0, 2), round(2.0, 3)]);
        let told: Vec<_> =
            figures.iter().take(3).map(|f| (f.name.as_str(), f.median, f.least, f.most, f.share)).collect();
        assert_eq!(
            told,
            [
                ("boot: a", 2.0, 1.0, 9.0, Some(25.0)),
                ("boot: b", 6.0, 3.0, 27.0, Some(75.0)),
                ("boot: sealed release to first 200", 8.0, 4.0, 36.0, None),
            ]
        );
        assert!(!figures.iter().any(|figure| figure.name.contains("disk")), "no runtime did it");
    }

    #[test]
    fn so_many_fit_as_hold_no_more_than_there_is() {
        let checked = Fit { started: 2, each_bytes: 300, host_bytes: 500, available_bytes: 0 };
        let fits = fits(&[round(1.0, 200), round(1.0, 250), round(1.0, 100)], &checked, 1_000);
        assert_eq!((fits.awake, fits.awake_by_host, fits.asleep_in_memory), (3, Some(2), 10));
        assert_eq!(fits.asleep_on_disk_bytes_each, None);
    }
}
