//! Imbalance against the number of shards, drawn as SVG.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use forebay_router::Hash;
use forebay_router::balance::Evaluation;
use plotters::prelude::*;

use super::Report;
use crate::outcome::WrongUsage;

const SIZE: (u32, u32) = (900, 520);

/// Where an imbalance stops being told apart from worse ones.
const CEILING: f64 = 20.0;

/// How much higher than the highest point the picture is, so that the legend hides none.
const HEADROOM: f64 = 1.3;

const FONT: &str = "sans-serif";

/// A point for each number of shards.
type Points = Vec<(f64, f64)>;

/// What a picture may be written to.
///
/// # Errors
/// The name says that something else is wanted.
pub(super) fn check(path: &Path) -> Result<()> {
    if path
        .extension()
        .is_some_and(|is| is.eq_ignore_ascii_case("svg"))
    {
        return Ok(());
    }
    let what = format!(
        "--plot: {} is no .svg, and nothing else is drawn",
        path.display()
    );
    Err(WrongUsage(what).into())
}

/// Draws the report to a file.
///
/// # Errors
/// No split has figures, or the file cannot be written.
pub(super) fn write(report: &Report<'_>, path: &Path) -> Result<()> {
    if report.choice.is_none() {
        bail!(
            "no split has enough shards: {} is not drawn",
            path.display()
        );
    }
    let svg = draw(report).with_context(|| format!("cannot draw {}", path.display()))?;
    fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(report: &Report<'_>) -> Result<String> {
    let mut svg = String::new();
    {
        let mut evaluations: Vec<&Evaluation> = report.balance.evaluations.iter().collect();
        // Of too few shards for the collectors nothing is known.
        evaluations.retain(|evaluation| evaluation.imbalance(report.measure).is_some());
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(told)?;
        let shards = evaluations.iter().map(|e| f64::from(e.split.shards.get()));
        let last = shards.clone().fold(2.0, f64::max);
        let first = shards.fold(last, f64::min);
        let highest = evaluations
            .iter()
            .filter_map(|e| e.imbalance(report.measure))
            .fold(1.5, f64::max)
            .min(CEILING);
        let top = 1.0 + (highest - 1.0) * HEADROOM;
        let caption = format!("Imbalance of {} by number of shards", report.measure);
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, (FONT, 22))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(56)
            .build_cartesian_2d(first - 0.5..last + 0.5, 1.0..top)
            .map_err(told)?;
        chart
            .configure_mesh()
            .x_labels(30)
            .x_label_formatter(&|shards| whole(*shards))
            .y_label_formatter(&|imbalance| height(*imbalance))
            .x_desc("shards (filled: prime)")
            .y_desc("fullest over its share")
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(told)?;
        let floor = |e: &Evaluation| Some(e.floor(report.measure)?.imbalance);
        let floor = points(&evaluations, |_| true, floor);
        let grey = RGBColor(120, 120, 120);
        chart
            .draw_series(LineSeries::new(floor, grey))
            .map_err(told)?
            .label("floor: no split is below")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], grey));
        for (hash, colour) in [
            (Hash::Address, RGBColor(200, 70, 30)),
            (Hash::Xxh3, RGBColor(20, 90, 170)),
        ] {
            let of_hash = |e: &Evaluation| e.split.hash == hash;
            let line = points(&evaluations, of_hash, |e| e.imbalance(report.measure));
            if line.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))
                .map_err(told)?
                .label(hash.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
            let circles = line.into_iter().map(|point| {
                let style = if is_prime_number(point.0) {
                    colour.filled()
                } else {
                    colour.stroke_width(1)
                };
                Circle::new(point, 4, style)
            });
            chart.draw_series(circles).map_err(told)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(grey)
            .label_font((FONT, 15))
            .draw()
            .map_err(told)?;
        area.present().map_err(told)?;
    }
    Ok(svg)
}

/// A point for each number of shards of which there is a value; what is beyond the ceiling lies on it.
fn points(
    evaluations: &[&Evaluation],
    wanted: impl Fn(&Evaluation) -> bool,
    value: impl Fn(&Evaluation) -> Option<f64>,
) -> Points {
    let mut points: Points = evaluations
        .iter()
        .filter(|evaluation| wanted(evaluation))
        .filter_map(|evaluation| {
            let shards = f64::from(evaluation.split.shards.get());
            Some((shards, value(evaluation)?.min(CEILING)))
        })
        .collect();
    points.dedup_by_key(|(shards, _)| *shards);
    points
}

/// A label, where there is a whole number: of few shards the axis has places between.
fn whole(shards: f64) -> String {
    if (shards - shards.round()).abs() < 1e-6 {
        format!("{shards:.0}")
    } else {
        String::new()
    }
}

/// A label, up to the height from which on imbalances are not told apart.
fn height(imbalance: f64) -> String {
    if imbalance < CEILING {
        format!("{imbalance:.1}")
    } else if imbalance == CEILING {
        format!("≥ {CEILING}")
    } else {
        String::new()
    }
}

fn is_prime_number(shards: f64) -> bool {
    forebay_router::is_prime(shards as u32)
}

/// The error in words: its type borrows the drawing.
fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
