//! Results as pictures: SVG files, one line for each policy.

use super::engine::{Point, Run};
use super::machines::engine as machines;
use plotters::prelude::*;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (960, 540);
/// Colours that those who see red and green alike can still tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(64, 64, 64),
];
const TEXT: RGBColor = RGBColor(48, 48, 48);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "Helvetica, Arial, sans-serif";

/// A picture could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {file}: {problem}")]
pub struct PlotError {
    file: String,
    problem: String,
}

/// What a picture shows over time.
struct Plot {
    file: &'static str,
    title: &'static str,
    unit: &'static str,
    value: fn(&Point) -> f64,
    /// A line across, and what it is.
    across: Option<(f64, &'static str)>,
}

const PLOTS: [Plot; 3] = [
    Plot {
        file: "utilisation",
        title: "Utilisation",
        unit: "delivered to clients (% of capacity)",
        value: |point| 100.0 * point.utilisation,
        across: Some((100.0, "capacity")),
    },
    Plot {
        file: "free",
        title: "Free capacity",
        unit: "free capacity (reference streams)",
        value: |point| point.free,
        across: None,
    },
    Plot {
        file: "refusals",
        title: "Refused joins",
        unit: "joins refused so far",
        value: |point| point.refused as f64,
        across: None,
    },
];

/// Writes the pictures of these runs, all over the same workload, into a folder. Answers with where they are.
///
/// # Errors
/// When one cannot be written.
pub fn write(runs: &[Run], folder: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for plot in &PLOTS {
        let file = folder.join(format!("{}-{}.svg", first.report.workload, plot.file));
        let failed = |problem: String| PlotError { file: file.display().to_string(), problem };
        let mut text = String::new();
        draw(plot, runs, &mut text).map_err(|error| failed(error.to_string()))?;
        fs::write(&file, text).map_err(|error| failed(error.to_string()))?;
        files.push(file);
    }
    Ok(files)
}

/// Seconds or minutes or hours, and what these are called.
fn scale(end: f64) -> (f64, &'static str) {
    match end {
        ..180.0 => (1.0, "time (seconds)"),
        180.0..10_800.0 => (60.0, "time (minutes)"),
        _ => (3600.0, "time (hours)"),
    }
}

/// What a picture consists of.
struct Picture<'a> {
    title: &'a str,
    detail: String,
    unit: &'a str,
    across: Option<(f64, &'static str)>,
    /// What each line is, and its points: seconds and values.
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

fn draw(plot: &Plot, runs: &[Run], text: &mut String) -> Result<(), Box<dyn Error>> {
    let report = &runs[0].report;
    let detail = format!(
        "{} · {} nodes carry {} reference streams · seed {}",
        report.workload,
        grouped(report.nodes.into()),
        grouped(report.capacity),
        report.seed
    );
    let points = |run: &Run| run.course.iter().map(|point| (point.at_s, (plot.value)(point))).collect();
    let lines = runs.iter().map(|run| (run.report.policy.clone(), points(run))).collect();
    let picture = Picture { title: plot.title, detail, unit: plot.unit, across: plot.across, lines };
    picture.draw(text)
}

/// Writes a picture of how many machines there were under each scaler, all over the same day. Answers with where it is.
///
/// # Errors
/// When it cannot be written.
pub fn write_machines(runs: &[machines::Run], folder: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let report = &first.report;
    let detail = format!(
        "{} · machines of {} reference streams · seed {}",
        report.workload,
        grouped(report.streams.into()),
        report.seed
    );
    let points = |run: &machines::Run| run.course.iter().map(|point| (point.at_s, point.nodes)).collect();
    let mut lines: Vec<_> = runs.iter().map(|run| (run.report.scaler.clone(), points(run))).collect();
    let fewest = first.course.iter().map(|point| (point.at_s, point.fewest)).collect();
    lines.push(("fewest possible".to_owned(), fewest));
    let picture = Picture { title: "Machines", detail, unit: "machines", across: None, lines };
    let file = folder.join(format!("machines-{}.svg", report.workload));
    let failed = |problem: String| PlotError { file: file.display().to_string(), problem };
    let mut text = String::new();
    picture.draw(&mut text).map_err(|error| failed(error.to_string()))?;
    fs::write(&file, text).map_err(|error| failed(error.to_string()))?;
    Ok(vec![file])
}

impl Picture<'_> {
    fn draw(&self, text: &mut String) -> Result<(), Box<dyn Error>> {
        let all = || self.lines.iter().flat_map(|(_, points)| points);
        let last = all().map(|(at, _)| *at).fold(0.0, f64::max);
        let (unit, time) = scale(last);
        let end = (last / unit).max(f64::MIN_POSITIVE);
        let lowest = self.across.map_or(0.0, |(at, _)| at);
        let highest = all().map(|(_, value)| *value).fold(lowest, f64::max).max(1.0) * 1.08;
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(
            self.title,
            (24, 18),
            (FONT, 24).into_font().style(FontStyle::Bold).color(&TEXT),
        ))?;
        root.draw(&Text::new(self.detail.clone(), (24, 50), (FONT, 14).into_font().color(&TEXT.mix(0.75))))?;

        let area = root.margin(78, 16, 16, 150);
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(48)
            .y_label_area_size(78)
            .build_cartesian_2d(0.0..end, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(TEXT.mix(0.5))
            .x_labels(10)
            .y_labels(8)
            .x_label_formatter(&|value| trimmed(*value))
            .y_label_formatter(&|value| trimmed(*value))
            .x_desc(time)
            .y_desc(self.unit)
            .label_style((FONT, 13).into_font().color(&TEXT))
            .axis_desc_style((FONT, 14).into_font().color(&TEXT))
            .draw()?;
        if let Some((at, what)) = self.across {
            let grey = TEXT.mix(0.6);
            chart.draw_series(DashedLineSeries::new([(0.0, at), (end, at)], 5, 4, grey.stroke_width(1)))?;
            chart.draw_series([Text::new(
                what,
                (0.005 * end, at * 1.045),
                (FONT, 12).into_font().color(&grey),
            )])?;
        }
        for (index, (_, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let line = points.iter().map(|(at, value)| (at / unit, *value));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
        // Beside the chart, so that it never hides a line.
        for (index, (name, _)) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let (x, y) = (SIZE.0 as i32 - 142, 92 + 24 * index as i32);
            root.draw(&PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)))?;
            let style = (FONT, 14).into_font().color(&TEXT);
            root.draw(&Text::new(name.clone(), (x + 30, y - 8), style))?;
        }
        root.present()?;
        Ok(())
    }
}

/// A number without digits that say nothing, and with its thousands apart.
fn trimmed(value: f64) -> String {
    if value.abs() >= 10.0 || (value - value.round()).abs() < 1e-9 {
        return grouped(value.round() as u64);
    }
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([grouped(0), grouped(999), grouped(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([trimmed(0.5), trimmed(2.0), trimmed(1_500.2)], ["0.5", "2", "1,500"]);
    }

    #[test]
    fn pictures_are_written() {
        use crate::simulate::compare::{self, Machines, Source};
        use crate::simulate::demand::Demand;
        use crate::simulate::engine::Setting;
        let source = Source::named("burst", Some(20)).expect("known");
        let demand = Demand::of(source.events(1));
        let mesh = Machines { nodes: Some(2), workers: Some(2), streams: None }.mesh(&source, &demand);
        let setting = Setting { workload: "burst".to_owned(), seed: 1, mesh, end: demand.end };
        let chosen = compare::choose(&["all".to_owned()]).expect("known");
        let runs = compare::run(&source, &setting, &chosen, &std::sync::atomic::AtomicU64::new(0));
        let folder = tempfile::tempdir().expect("a folder");
        let files = write(&runs, folder.path()).expect("writes");
        assert_eq!(files.len(), 3);
        for file in &files {
            let text = fs::read_to_string(file).expect("is there");
            assert!(text.contains("</svg>") && text.contains("fixed-room"), "{}", file.display());
        }
        assert!(write(&runs, &folder.path().join("none")).is_err());
    }

    #[test]
    fn machines_are_drawn_beside_the_fewest_possible() {
        use crate::simulate::machines::{asked, scaler};
        let asked =
            asked::Asked { nodes: None, streams: None, boot_s: 60.0, failures: 0.0, price: 0.2, seed: 1 };
        let setting = asked.setting("night").expect("known");
        let runs: Vec<_> = scaler::ALL.iter().map(|known| machines::run(&setting, known)).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let files = write_machines(&runs, folder.path()).expect("writes");
        assert_eq!(files, [folder.path().join("machines-night.svg")]);
        let text = fs::read_to_string(&files[0]).expect("is there");
        assert!(text.contains("jitsi") && text.contains("fewest possible"));
        assert!(write_machines(&runs, &folder.path().join("none")).is_err());
    }
}
