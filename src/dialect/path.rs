//! Paths with parameters, such as `/ws/events/{eventId:integer}`.
//! Hands the parameters on as fields. It must never take a path for its own that another might mean.

use super::fields::{Field, FieldKind, Fields};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A path that a door answers.
#[derive(Clone, Debug)]
pub struct Path {
    written: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Plain(String),
    Parameter(Parameter),
}

/// A parameter between what stands around it: `lot-{lot}`.
#[derive(Clone, Debug)]
struct Parameter {
    before: String,
    field: Field,
    after: String,
}

impl Parameter {
    /// Its value in this segment of a request's path.
    fn read(&self, part: &str) -> Option<Value> {
        let value = part.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        self.field.kind.read(value)
    }
}

impl Path {
    /// # Errors
    /// What to write instead.
    pub(super) fn read(written: &str) -> Result<Self, String> {
        let rest = written.strip_prefix('/').ok_or("a path begins with /")?;
        let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%');
        if rest.is_empty() || written.contains(bad) {
            return Err(
                "write a path such as /ws/events/{eventId:integer}, without spaces, ?, # and %"
                    .into(),
            );
        }
        let mut segments: Vec<Segment> = Vec::new();
        for part in rest.split('/') {
            let segment = Segment::read(part)?;
            if let Some(field) = segment.field()
                && let mut known = segments.iter().filter_map(Segment::field)
                && known.any(|known| known.path == field.path)
            {
                return Err(format!("two parameters are called {{{}}}", field.path));
            }
            segments.push(segment);
        }
        let written = written.to_owned();
        Ok(Self { written, segments })
    }

    /// As it is written in the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Its parameters.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.segments.iter().filter_map(Segment::field)
    }

    /// The parameters of a request's path, as it came; nothing if it leads elsewhere.
    #[must_use]
    pub fn parse(&self, path: &str) -> Option<Fields> {
        let mut fields = Fields::default();
        let mut parts = path.strip_prefix('/')?.split('/');
        for segment in &self.segments {
            let part = percent_decode_str(parts.next()?).decode_utf8().ok()?;
            match segment {
                Segment::Plain(text) => (part == text.as_str()).then_some(())?,
                Segment::Parameter(one) => fields.set(&one.field.path, one.read(&part)?),
            }
        }
        parts.next().is_none().then_some(fields)
    }

    /// Whether some request could mean both.
    pub(super) fn collides(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len() && self.lies_below(other)
    }

    /// Whether some request could mean this path and that one, or lie below that one.
    pub(super) fn lies_below(&self, other: &Self) -> bool {
        let mut pairs = self.segments.iter().zip(&other.segments);
        self.segments.len() >= other.segments.len() && pairs.all(|(one, other)| one.collides(other))
    }
}

impl Segment {
    fn read(part: &str) -> Result<Self, String> {
        let Some((before, rest)) = part.split_once('{') else {
            if part.contains('}') {
                return Err("a brace was never opened".into());
            }
            return Ok(Self::Plain(part.to_owned()));
        };
        let (inside, after) = rest.split_once('}').ok_or("a brace is never closed")?;
        if after.contains(['{', '}']) {
            return Err("between two slashes there is one parameter at most".into());
        }
        let (name, kind) = inside.split_once(':').unwrap_or((inside, "text"));
        let kind = match kind {
            "text" => FieldKind::Text,
            "integer" => FieldKind::Integer,
            _ => return Err(format!("{{{inside}}}: a parameter is text or integer")),
        };
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        {
            return Err(format!(
                "{{{inside}}}: a parameter's name has letters, digits, _ and -"
            ));
        }
        Ok(Self::Parameter(Parameter {
            before: before.to_owned(),
            field: Field::new(name, kind, false),
            after: after.to_owned(),
        }))
    }

    fn field(&self) -> Option<&Field> {
        match self {
            Self::Plain(_) => None,
            Self::Parameter(one) => Some(&one.field),
        }
    }

    fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => one == other,
            (Self::Plain(text), Self::Parameter(one))
            | (Self::Parameter(one), Self::Plain(text)) => one.read(text).is_some(),
            (Self::Parameter(one), Self::Parameter(other)) => {
                (one.before.starts_with(&other.before) || other.before.starts_with(&one.before))
                    && (one.after.ends_with(&other.after) || other.after.ends_with(&one.after))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(written: &str) -> Path {
        Path::read(written).unwrap()
    }

    #[test]
    fn parameters_have_their_type() {
        let events = path("/ws/events/{eventId:integer}");
        assert_eq!(
            events.parse("/ws/events/123").unwrap().get("eventId"),
            Some(&json!(123))
        );
        for other in [
            "/ws/events/abc",
            "/ws/events/",
            "/ws/events",
            "/ws/events/1/",
            "/ws/events/1/2",
            "ws/events/1",
        ] {
            assert_eq!(events.parse(other), None, "{other}");
        }
        let lot = path("/lot-{lot}.live");
        assert_eq!(
            lot.parse("/lot-P%2F1.live").unwrap().get("lot"),
            Some(&json!("P/1"))
        );
        for other in ["/lot-.live", "/lot-a", "/lot-%00.live", "/lot-%ff.live"] {
            assert_eq!(lot.parse(other), None, "{other}");
        }
    }

    #[test]
    fn paths_that_a_request_could_both_mean_collide() {
        for (one, other, both) in [
            ("/a/{x}", "/a/b", true),
            ("/a/{x:integer}", "/a/b", false),
            ("/a/{x:integer}", "/a/{y}", true),
            ("/a/{x}", "/a/{x}/c", false),
            ("/a/lot-{x}", "/a/car-{x}", false),
            ("/a/lot-{x}", "/a/{x}", true),
            ("/a/b", "/a/b", true),
        ] {
            assert_eq!(path(one).collides(&path(other)), both, "{one} {other}");
            assert_eq!(path(other).collides(&path(one)), both, "{other} {one}");
        }
        assert!(path("/socket.io/x").lies_below(&path("/socket.io")));
        assert!(path("/{x}/y").lies_below(&path("/socket.io")));
        assert!(!path("/socket/io").lies_below(&path("/socket.io")));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for wrong in [
            "",
            "/",
            "ws",
            "/a b",
            "/a?b",
            "/{x",
            "/x}",
            "/{x}{y}",
            "/{x:number}",
            "/{}",
            "/{x}/{x}",
        ] {
            assert!(Path::read(wrong).is_err(), "{wrong}");
        }
    }
}
