//! A drawing: a card with a title, whatever is drawn on it, and its source below. Text is text, there
//! is no script, and the reader's own preference chooses between light and dark. By hand, because the
//! libraries that draw charts know neither classes nor a dark page.

use super::servers::SERVERS;

pub const WIDTH: f64 = 880.0;
pub const MARGIN: f64 = 28.0;

const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',\
Helvetica,Arial,sans-serif;font-size:13px;fill:var(--ink);font-variant-numeric:tabular-nums}\
.title{font-size:18px;font-weight:650}.head{font-size:14px;font-weight:650}.own{font-weight:650}\
.muted{fill:var(--muted);font-size:12px}.source{fill:var(--muted);font-size:11px}\
.card{fill:var(--page);stroke:var(--edge)}.grid{stroke:var(--grid)}.base{stroke:var(--muted)}\
.mark{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}.path{fill:none;stroke-width:2.25}\
.halo{stroke:var(--page);stroke-width:3.5;paint-order:stroke;stroke-linejoin:round}\
.faint{opacity:.38}.ring{fill:var(--page)!important;stroke-width:2.25}\
svg{--page:#fff;--edge:#d1d9e0;--grid:#e8ebee;--ink:#1f2328;--muted:#59636e}";

const DARK: &str =
    "svg{--page:#0d1117;--edge:#3d444d;--grid:#21262d;--ink:#e6edf3;--muted:#9198a1}";

pub struct Sheet {
    title: String,
    body: String,
    /// Where the next thing is drawn.
    pub y: f64,
}

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Sheet {
    pub fn new(title: &str, subtitle: &str) -> Self {
        let mut sheet = Self {
            title: title.to_owned(),
            body: String::new(),
            y: 40.0,
        };
        sheet.text(MARGIN, 40.0, "title", Anchor::Start, title);
        for line in wrapped(subtitle, 118) {
            sheet.y += 21.0;
            let y = sheet.y;
            sheet.text(MARGIN, y, "muted", Anchor::Start, &line);
        }
        sheet.y += 8.0;
        sheet
    }

    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        let content = escaped(content);
        self.add(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{class}{anchor}>{content}</text>"
        ));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.add(&format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        self.add(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2.5\" \
             class=\"{class}\"/>"
        ));
    }

    /// Any element that is ready.
    pub fn add(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The whole file; `summary` is read to those who don't see it.
    pub fn finished(mut self, source: &str, summary: &str) -> String {
        for line in wrapped(source, 130) {
            self.y += 15.0;
            let y = self.y;
            self.text(MARGIN, y, "source", Anchor::Start, &line);
        }
        let (height, title) = (self.y + 20.0, escaped(&self.title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{}</desc>\n<style>{STYLE}{}\n\
             @media (prefers-color-scheme:dark){{{DARK}{}}}</style>\n\
             <rect class=\"card\" x=\".5\" y=\".5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\"/>\n\
             {}</svg>\n",
            escaped(summary),
            colours(0),
            colours(1),
            WIDTH - 1.0,
            height.round() - 1.0,
            self.body
        )
    }
}

/// A class for each server.
fn colours(page: usize) -> String {
    let rules = SERVERS.iter().map(|server| {
        let (name, colour) = (server.name, server.colours[page]);
        format!("\n.{name}{{fill:{colour};stroke:{colour}}}")
    });
    rules.collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Lines of at most so many letters, broken between words.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
