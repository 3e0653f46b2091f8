//! A panel with a row for each server: bars from zero, or points from p50 to p99 on a logarithmic
//! axis, where one slow server would otherwise leave the others no room.

use super::axis::{Axis, tick};
use super::servers::Server;
use super::sheet::{Anchor, MARGIN, Sheet, WIDTH};

const LABELS: f64 = 152.0;
const NOTES: f64 = 176.0;
const ROW: f64 = 25.0;
const THICK: f64 = 15.0;
const LEFT: f64 = MARGIN + LABELS;
const LENGTH: f64 = WIDTH - LEFT - NOTES - MARGIN;

pub struct Panel {
    pub head: String,
    pub unit: &'static str,
    pub kind: Kind,
    pub rows: Vec<Row>,
    /// Lines through all rows: the floor, a target.
    pub marks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Kind {
    Bars,
    /// Each row's values are p50 and p99 (or whatever the head says).
    Points,
}

pub struct Row {
    pub server: &'static Server,
    pub values: Vec<f64>,
    /// Written at the row's end: the value, with its unit and ratio.
    pub note: String,
}

impl Panel {
    /// Draws it where the sheet stands. A panel without rows is left out.
    pub fn draw(&self, sheet: &mut Sheet) {
        if self.rows.is_empty() {
            return;
        }
        sheet.y += 30.0;
        let y = sheet.y;
        sheet.text(MARGIN, y, "head", Anchor::Start, &self.head);
        let top = sheet.y + if self.marks.is_empty() { 10.0 } else { 26.0 };
        let bottom = top + ROW * self.rows.len() as f64;
        let axis = self.axis();
        for value in axis.ticks() {
            let x = LEFT + axis.at(*value);
            sheet.line((x, top), (x, bottom), "grid");
            sheet.text(x, bottom + 16.0, "muted", Anchor::Middle, &tick(*value));
        }
        sheet.text(
            LEFT + LENGTH + 26.0,
            bottom + 16.0,
            "muted",
            Anchor::Start,
            self.unit,
        );
        self.draw_marks(sheet, &axis, top, bottom);
        for (place, row) in self.rows.iter().enumerate() {
            let middle = top + ROW * (place as f64 + 0.5);
            let class = if row.server.is_rowcast() { "own" } else { "" };
            sheet.text(
                LEFT - 12.0,
                middle + 4.5,
                class,
                Anchor::End,
                row.server.label,
            );
            let end = match self.kind {
                Kind::Bars => bar(sheet, &axis, row, middle),
                Kind::Points => points(sheet, &axis, row, middle),
            };
            let class = format!("halo {class}");
            sheet.text(end, middle + 4.5, class.trim(), Anchor::Start, &row.note);
        }
        if self.kind == Kind::Bars {
            sheet.line((LEFT, top), (LEFT, bottom), "base");
        }
        sheet.y = bottom + 22.0;
    }

    fn axis(&self) -> Axis {
        let values = self.rows.iter().flat_map(|row| row.values.iter().copied());
        let mut all: Vec<f64> = values.collect();
        all.extend(self.marks.iter().map(|(value, _)| *value));
        match self.kind {
            Kind::Bars => Axis::linear(all.iter().copied().fold(0.0, f64::max), LENGTH),
            Kind::Points => Axis::logarithmic(&all, LENGTH),
        }
    }

    fn draw_marks(&self, sheet: &mut Sheet, axis: &Axis, top: f64, bottom: f64) {
        // Names side by side: one that would touch the one before stands to the right of its line.
        let mut free = LEFT - LABELS;
        let mut marks: Vec<_> = self.marks.iter().collect();
        marks.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (value, name) in marks {
            let x = LEFT + axis.at(*value);
            let half = name.chars().count() as f64 * 3.2;
            let start = (x - half).max(free);
            sheet.line((x, top - 4.0), (x, bottom), "mark");
            sheet.text(start, top - 9.0, "muted", Anchor::Start, name);
            free = start + 2.0 * half + 14.0;
        }
    }
}

/// Where the note stands is what these two return.
fn bar(sheet: &mut Sheet, axis: &Axis, row: &Row, middle: f64) -> f64 {
    let value = row.values.first().copied().unwrap_or_default();
    let width = axis.at(value);
    let class = row.server.name;
    sheet.bar(LEFT, middle - THICK / 2.0, width.max(1.0), THICK, class);
    LEFT + width + 9.0
}

fn points(sheet: &mut Sheet, axis: &Axis, row: &Row, middle: f64) -> f64 {
    let class = row.server.name;
    let places: Vec<f64> = row
        .values
        .iter()
        .map(|value| LEFT + axis.at(*value))
        .collect();
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return LEFT;
    };
    let width = (last - first).max(0.5);
    sheet.bar(*first, middle - 3.0, width, 6.0, &format!("{class} faint"));
    for (place, x) in places.iter().enumerate() {
        let shape = if place == 0 {
            class.to_owned()
        } else {
            format!("{class} ring")
        };
        sheet.add(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5\" class=\"{shape}\"/>"
        ));
    }
    // Beside all rows, where no line runs through the numbers.
    LEFT + LENGTH + 14.0
}
