//! A panel with a line for each server over a growing number, both axes logarithmic: what stays level
//! costs the same for each message, however many there are.

use super::axis::{Axis, tick};
use super::servers::{Server, Shape};
use super::sheet::{Anchor, MARGIN, Sheet, WIDTH};

const LEFT: f64 = MARGIN + 48.0;
const LABELS: f64 = 168.0;
const LENGTH: f64 = WIDTH - LEFT - LABELS - MARGIN;
const HEIGHT: f64 = 236.0;
/// Names at the lines' ends are kept that far apart.
const APART: f64 = 17.0;

pub struct Panel {
    pub head: &'static str,
    /// Below the axis: what grows.
    pub over: &'static str,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub server: &'static Server,
    pub points: Vec<(f64, f64)>,
}

impl Panel {
    /// Draws it where the sheet stands. A panel without lines is left out.
    pub fn draw(&self, sheet: &mut Sheet) {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let over: Vec<f64> = points().map(|(x, _)| *x).collect();
        let costs: Vec<f64> = points().map(|(_, y)| *y).collect();
        if over.is_empty() {
            return;
        }
        sheet.y += 30.0;
        let y = sheet.y;
        sheet.text(MARGIN, y, "head", Anchor::Start, self.head);
        let (top, bottom) = (y + 18.0, y + 18.0 + HEIGHT);
        let across = Axis::logarithmic(&over, LENGTH);
        let up = Axis::logarithmic(&costs, HEIGHT);
        for value in up.ticks() {
            let y = bottom - up.at(*value);
            sheet.line((LEFT, y), (LEFT + LENGTH, y), "grid");
            sheet.text(LEFT - 10.0, y + 4.0, "muted", Anchor::End, &tick(*value));
        }
        let mut measured = over;
        measured.sort_by(f64::total_cmp);
        measured.dedup();
        for value in measured {
            let x = LEFT + across.at(value);
            sheet.line((x, top), (x, bottom), "grid");
            sheet.text(x, bottom + 18.0, "muted", Anchor::Middle, &tick(value));
        }
        let centre = LEFT + LENGTH / 2.0;
        sheet.text(centre, bottom + 35.0, "muted", Anchor::Middle, self.over);
        let place = |(x, y): &(f64, f64)| (LEFT + across.at(*x), bottom - up.at(*y));
        let mut ends = Vec::new();
        for line in &self.lines {
            let places: Vec<(f64, f64)> = line.points.iter().map(place).collect();
            draw_line(sheet, line.server, &places);
            if let Some(last) = places.last() {
                ends.push((last.1, line.server));
            }
        }
        name_lines(sheet, ends, top, bottom);
        sheet.y = bottom + 40.0;
    }
}

fn draw_line(sheet: &mut Sheet, server: &Server, places: &[(f64, f64)]) {
    let steps: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let class = server.name;
    // The style, for the server's class would fill what the line surrounds.
    sheet.add(&format!(
        "<polyline points=\"{}\" class=\"{class} path\" style=\"fill:none\"/>",
        steps.join(" ")
    ));
    for (x, y) in places {
        sheet.add(&point(server, *x, *y));
    }
}

fn point(server: &Server, x: f64, y: f64) -> String {
    let class = server.name;
    let polygon = |corners: &[(f64, f64)]| {
        let corners = corners
            .iter()
            .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy));
        let corners: Vec<String> = corners.collect();
        format!(
            "<polygon points=\"{}\" class=\"{class}\"/>",
            corners.join(" ")
        )
    };
    match server.shape {
        Shape::Circle => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\"/>"),
        Shape::Square => polygon(&[(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)]),
        Shape::Diamond => polygon(&[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)]),
        Shape::Triangle => polygon(&[(0.0, -5.0), (4.7, 3.5), (-4.7, 3.5)]),
    }
}

/// Writes each name at its line's end, pushed apart where they would overlap.
fn name_lines(sheet: &mut Sheet, mut ends: Vec<(f64, &'static Server)>, top: f64, bottom: f64) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut places: Vec<f64> = Vec::new();
    for (y, _) in &ends {
        let least = places.last().map_or(top, |last| last + APART);
        places.push(y.max(least));
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - APART;
    }
    for ((_, server), y) in ends.iter().zip(places) {
        let x = LEFT + LENGTH + 18.0;
        sheet.add(&point(server, x, y));
        let class = if server.is_rowcast() { "own" } else { "" };
        sheet.text(x + 11.0, y + 4.5, class, Anchor::Start, server.label);
    }
}
