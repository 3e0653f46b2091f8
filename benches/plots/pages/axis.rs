//! Where a value lies on an axis, and which values are named there; and how numbers are written.

/// An axis from `low` to `high`, which are drawn at 0 and at `length`.
pub struct Axis {
    low: f64,
    high: f64,
    length: f64,
    ticks: Vec<f64>,
    logarithmic: bool,
}

impl Axis {
    /// From zero to somewhat above the greatest value: what bars need, to be honest.
    pub fn linear(greatest: f64, length: f64) -> Self {
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let rough = greatest / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
        let fits = steps.into_iter().find(|step| step * decade >= rough);
        let step = fits.unwrap_or(10.0) * decade;
        let high = (greatest / step).ceil() * step;
        let count = (high / step).round() as u32;
        let ticks = (0..=count).map(|n| f64::from(n) * step).collect();
        Self {
            low: 0.0,
            high,
            length,
            ticks,
            logarithmic: false,
        }
    }

    /// Round values below the least and above the greatest: for points, never for bars.
    pub fn logarithmic(values: &[f64], length: f64) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let least = positive().fold(f64::INFINITY, f64::min).min(1e9);
        let greatest = positive().fold(0.0, f64::max).max(least);
        let mut round = Vec::new();
        for decade in -6..=9 {
            for step in [1.0, 2.0, 5.0] {
                round.push(step * 10_f64.powi(decade));
            }
        }
        let from = round.iter().rposition(|value| *value <= least * 0.999);
        let until = round.iter().position(|value| *value >= greatest * 1.001);
        let until = until.unwrap_or(round.len() - 1);
        let mut ticks = round[from.unwrap_or_default()..=until].to_vec();
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        if ticks.len() > 9 {
            ticks.retain(|value| (value.log10() - value.log10().round()).abs() < 1e-9);
        }
        Self {
            low,
            high,
            length,
            ticks,
            logarithmic: true,
        }
    }

    pub fn at(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            let value = value.max(self.low);
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0) * self.length
    }

    pub fn ticks(&self) -> &[f64] {
        &self.ticks
    }
}

/// Three digits at most, and thousands apart: 0.58, 2.9, 17, 15,000.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => thousands(value),
        size if size >= 9.995 => format!("{value:.1}"),
        size if (0.0005..0.0995).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// For axes: the same without noughts at the end.
pub fn tick(value: f64) -> String {
    let text = figure(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// How many times: 1.24×.
pub fn times(ratio: f64) -> String {
    if ratio < 0.005 {
        "<0.01×".to_owned()
    } else if ratio >= 9.995 {
        format!("{ratio:.1}×")
    } else {
        format!("{ratio:.2}×")
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}
