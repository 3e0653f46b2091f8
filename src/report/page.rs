//! Prometheus' text format: what a metric is, then its values.
//! Hands one text over to `/metrics`. It must never name a metric twice, nor know what one means.

use super::delay::{BOUNDS, Delays};
use std::fmt::{Display, Write};

/// Metrics one below the other.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// What only grows.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.line(name, value);
    }

    /// The same by label.
    pub fn counters<L: Display, V: Display>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, "counter", help);
        self.labelled(name, label, values);
    }

    /// What holds now.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, value);
    }

    /// The same by label.
    pub fn gauges<L: Display, V: Display>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, "gauge", help);
        self.labelled(name, label, values);
    }

    /// Delays by their bounds, where each bucket includes those below it.
    pub fn histogram(&mut self, name: &str, help: &str, delays: &Delays) {
        self.head(name, "histogram", help);
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let buckets = bounds.zip(delays.counts()).map(|(bound, count)| {
            sum += count;
            (bound, sum)
        });
        self.labelled(&format!("{name}_bucket"), "le", buckets);
        self.line(&format!("{name}_sum"), delays.seconds());
        self.line(&format!("{name}_count"), sum);
    }

    /// As it is served.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled<L: Display, V: Display>(
        &mut self,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        for (word, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.gauge("g", "now", 0.5);
        page.counters(("c", "code"), "so far", [("a", 1), ("b", 0)]);
        assert_eq!(
            page.into_text(),
            "# HELP g now\n# TYPE g gauge\ng 0.5\n\
             # HELP c so far\n# TYPE c counter\nc{code=\"a\"} 1\nc{code=\"b\"} 0\n"
        );
    }

    #[test]
    fn a_bucket_includes_those_below_it() {
        let (mut page, delays) = (Page::default(), Delays::new());
        for micros in [0, 501, 20_000_000] {
            delays.count(Duration::from_micros(micros));
        }
        page.histogram("d", "h", &delays);
        let text = page.into_text();
        for line in [
            "d_bucket{le=\"0.0005\"} 1\n",
            "d_bucket{le=\"0.001\"} 2\n",
            "d_bucket{le=\"10\"} 2\n",
            "d_bucket{le=\"+Inf\"} 3\nd_sum 20.000501\nd_count 3\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
