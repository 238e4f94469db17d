//! The table for people.

use super::{Figures, Line, Range, Report};
use std::fmt::Write as _;

/// What was measured, how, and a line for each kind of work.
pub(super) fn of(report: &Report) -> String {
    let (rows, tokens, turns) = (report.rows, report.tokens, report.turns);
    let threads = match report.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let torch = report.torch.as_deref().unwrap_or("PyTorch");
    let mut text = format!(
        "{}, {rows} sequences of {tokens} tokens, {threads}\n\
         {} beside {torch}\n\
         fastest of {turns} turns, and by how much the slowest was slower; ratios are ours by PyTorch's\n\n",
        report.model, report.ours
    );
    let (times, sizes) = (
        format!("{:>11}{:>11}{:>7}", "ours", "PyTorch", "ratio"),
        format!("{:>7}{:>8}{:>7}", "ours", "PyTorch", "ratio"),
    );
    let _ = write!(
        text,
        "{:<9}{:>29}{:>29}{:>22}{:>9}{:>7}\n{:<9}{times}{times}{sizes}{:>9}{:>7}\n",
        "", "wall seconds", "CPU seconds", "peak MB", "tokens/s", "share", "work", "ours", "ours",
    );
    for line in &report.work {
        let _ = writeln!(text, "{}", row(line));
    }
    text.push_str(
        "\nshare: of the time, what the least matrix products would take at the speed of large ones, \
         measured in the same turns",
    );
    if let Some(why) = &report.torch_missing {
        let _ = write!(text, "\nPyTorch is not in all of it: {why}");
    }
    text
}

fn row(line: &Line) -> String {
    let torch = line.torch.as_ref();
    let ratio = |pick: fn(&super::Ratio) -> f64| match &line.ratio {
        Some(ratio) => format!("{:.2}", pick(ratio)),
        None => "-".to_owned(),
    };
    let times = |pick: fn(&Figures) -> Range| {
        let other = torch.map_or_else(|| "-".to_owned(), |torch| spread(pick(torch)));
        format!("{:>11}{other:>11}", spread(pick(&line.ours)))
    };
    let other = torch.map_or_else(|| "-".to_owned(), |torch| format!("{:.0}", torch.peak_mb));
    let share = match line.ours.share {
        Some(share) => format!("{:.0} %", 100.0 * share),
        None => "-".to_owned(),
    };
    format!(
        "{:<9}{}{:>7}{}{:>7}{:>7.0}{other:>8}{:>7}{:>9.0}{share:>7}",
        line.work,
        times(|figures| figures.wall_s),
        ratio(|ratio| ratio.wall_s),
        times(|figures| figures.cpu_s),
        ratio(|ratio| ratio.cpu_s),
        line.ours.peak_mb,
        ratio(|ratio| ratio.peak_mb),
        line.ours.tokens_per_s,
    )
}

/// The fastest, and by how much the slowest was slower.
fn spread(range: Range) -> String {
    let decimals = match range.min {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let more = 100.0 * (range.max / range.min - 1.0);
    format!("{:.decimals$} +{more:.0}%", range.min)
}

#[cfg(test)]
mod tests {
    use super::super::Ratio;
    use super::*;

    fn figures(seconds: f64, peak_mb: f64) -> Figures {
        let range = Range {
            min: seconds,
            max: 1.1 * seconds,
        };
        Figures {
            wall_s: range,
            cpu_s: range,
            tokens_per_s: 1024.0 / seconds,
            peak_mb,
            reckoned_mb: None,
            share: (seconds < 100.0).then_some(0.82),
            answer: 1.0,
        }
    }

    fn line(work: &'static str, seconds: f64, torch: bool) -> Line {
        Line {
            work,
            gflop: None,
            products_gflops: 100.0,
            ours: figures(seconds, 588.0),
            torch: torch.then(|| figures(2.0 * seconds, 3339.0)),
            ratio: torch.then_some(Ratio {
                wall_s: 0.5,
                cpu_s: 0.5,
                peak_mb: 0.176,
            }),
        }
    }

    fn report(torch_missing: Option<&str>) -> Report {
        let torch = torch_missing.is_none();
        Report {
            model: "SmolLM2-135M-Instruct",
            rows: 16,
            tokens: 64,
            threads: 1,
            turns: 3,
            ours: "aar 0.1.0".to_owned(),
            torch: torch.then(|| "PyTorch 2.15.0".to_owned()),
            torch_missing: torch_missing.map(str::to_owned),
            work: vec![
                line("forward", 0.345, torch),
                line("generate", 123.4, torch),
            ],
        }
    }

    #[test]
    fn columns_line_up_whatever_the_numbers_are() {
        for report in [report(None), report(Some("no torch"))] {
            let text = of(&report);
            let table = text.split("\n\n").nth(1).unwrap();
            let ends: Vec<usize> = table.lines().map(str::len).collect();
            assert_eq!(ends, [ends[0]; 4], "{text}");
        }
    }

    #[test]
    fn ratios_stand_behind_the_two_that_they_compare() {
        let text = of(&report(None));
        let forward = text.lines().find(|l| l.starts_with("forward")).unwrap();
        let cells: Vec<&str> = forward.split_whitespace().collect();
        let times = ["0.34", "+10%", "0.69", "+10%", "0.50"];
        assert_eq!(cells[1..6], times, "{text}");
        assert_eq!(cells[6..11], times, "{text}");
        assert_eq!(
            cells[11..],
            ["588", "3339", "0.18", "2968", "82", "%"],
            "{text}"
        );
    }

    #[test]
    fn a_missing_peer_is_told_with_its_reason() {
        let text = of(&report(Some("lora, by python3: No module named 'torch'")));
        assert!(text.ends_with("No module named 'torch'"), "{text}");
    }
}
