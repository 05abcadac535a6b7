//! What was offered against what was received and lost, drawn as SVG.

use std::ops::Range;

use anyhow::Result;
use forebay_replay::search::Step;
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 760);

/// How much of the height the rates take; loss has the rest.
const RATES_HEIGHT: u32 = 460;

const FONT: &str = "sans-serif";

const HELD: RGBColor = RGBColor(20, 90, 170);
const LOST: RGBColor = RGBColor(200, 70, 30);
const GREY: RGBColor = RGBColor(120, 120, 120);

/// A drawing of all steps.
pub(super) fn draw(steps: &[Step]) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(told)?;
        let (rates, losses) = area.split_vertically(RATES_HEIGHT);
        let offered = steps.iter().map(|step| step.offered_flows_per_second);
        let most = offered.fold(1.0, f64::max) * 1.05;
        draw_rates(&rates, steps, most)?;
        draw_losses(&losses, steps, most)?;
        area.present().map_err(told)?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_rates(area: &Area<'_>, steps: &[Step], most: f64) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .caption("Received by offered rate", (FONT, 22))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..most, 0.0..most)
        .map_err(told)?;
    chart
        .configure_mesh()
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .x_desc("offered flows/s")
        .y_desc("received flows/s")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(told)?;
    chart
        .draw_series(LineSeries::new([(0.0, 0.0), (most, most)], GREY))
        .map_err(told)?
        .label("nothing lost")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], GREY));
    for (held, colour, name) in [(true, HELD, "held"), (false, LOST, "lost or fell behind")] {
        let points = steps.iter().filter(|step| step.held == held).map(|step| {
            let point = (
                step.offered_flows_per_second,
                step.received_flows_per_second,
            );
            Circle::new(point, 4, colour.filled())
        });
        chart
            .draw_series(points)
            .map_err(told)?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 9, y), 4, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(GREY)
        .label_font((FONT, 15))
        .draw()
        .map_err(told)?;
    Ok(())
}

fn draw_losses(area: &Area<'_>, steps: &[Step], most: f64) -> Result<()> {
    let percent = |step: &Step| step.lost_share * 100.0;
    let worst = steps.iter().map(percent).fold(0.1, f64::max) * 1.1;
    let range: Range<f64> = 0.0..worst;
    let mut chart = ChartBuilder::on(area)
        .caption("Loss by offered rate", (FONT, 22))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..most, range)
        .map_err(told)?;
    chart
        .configure_mesh()
        .x_label_formatter(&short)
        .y_labels(6)
        .x_desc("offered flows/s")
        .y_desc("lost, %")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(told)?;
    let points = steps.iter().map(|step| {
        let point = (step.offered_flows_per_second, percent(step));
        let colour = if step.held { HELD } else { LOST };
        Circle::new(point, 4, colour.filled())
    });
    chart.draw_series(points).map_err(told)?;
    Ok(())
}

/// `1.5M`: an axis has no room for more.
fn short(rate: &f64) -> String {
    let (value, unit) = match *rate {
        rate if rate >= 1e6 => (rate / 1e6, "M"),
        rate if rate >= 1e3 => (rate / 1e3, "k"),
        rate => (rate, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// The error in words: its type borrows the drawing.
fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
