//! Each mistake that a file can have, and what is said of it.

use crate::dialect::Dialect;

/// A file that works, for each mistake to be made in.
const GOOD: &str = r#"
[websocket]
path = "/live/{lot:integer}"
query = { badge = "text?" }
rooms = ["lot:{lot}"]
claims = { badge = "sub" }
welcome = { cmd = "hello", lot = "{lot}", at = "{now:ms}" }

[event]
flat = true
[event.frame]
cmd = "{name}"
at = "{at:ms}"

[messages]
name = "cmd"
[message.watch]
also = ["see"]
fields = { lots = ["integer"], "opt.note" = "text?" }
join = "lot:{lots}"
answer = { cmd = "watching", rooms = "{rooms}" }
[message.book]
fields = { spot = "id" }
call = "parking.book"
args = { p_spot = "{spot}" }

[errors]
frame = { cmd = "error", text = "{message}" }
messages = { unknown-type = "no {type}" }

[close]
unauthorized = { code = 4401, reason = "Who are you?" }

[health]
path = "/health"
answer = { up = "{ready:yes|no}" }
"#;

fn problems(text: &str) -> String {
    match Dialect::parse("park.toml", text) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// What has no events is no answer, and whoever gets no place asks from the present again.
#[test]
fn a_poll_answers_with_its_events_once_and_a_place() {
    let poll = |answer: &str| {
        problems(&format!(
            "[event]\nframe = 1\n[poll]\npath = \"/p\"\nanswer = {answer}"
        ))
    };
    assert_eq!(poll(r#"["{bookmark}", { all = "{events}" }]"#), "");
    for wrong in [
        r#""{bookmark}""#,
        r#""{events}""#,
        r#"["{bookmark}", "{events}", "{events}"]"#,
    ] {
        let said = "park.toml:5: poll.answer: {events} has to stand in it once, and {bookmark}, to go on from";
        assert_eq!(poll(wrong), said, "{wrong}");
    }
}

/// It would be sent back to the same gap again and again.
#[test]
fn whoever_acknowledges_hears_of_gaps() {
    let door = |gap: &str, place: &str| {
        problems(&format!(
            "[websocket]\npath = \"/p\"\n{gap}\n[event]\nframe = 1\n[message.seen]\n\
             fields = {{ place = \"text\" }}\nacknowledge = {place}"
        ))
    };
    let (gap, place) = ("gap = { lost = \"{rooms}\" }", "\"{place}\"");
    assert_eq!(door(gap, place), "");
    assert!(door("", place).starts_with("park.toml:1: websocket.gap: whoever acknowledges"));
    for places in ["[]", "[\"{place}\", \"{place}\"]"] {
        let said = "park.toml:8: message.seen.acknowledge: a text in quotes was expected";
        assert_eq!(door(gap, places), said);
    }
}

#[test]
fn the_file_of_the_mistakes_is_without_one() {
    assert_eq!(problems(GOOD), "");
}

/// Each mistake: what is replaced by what, and the first problem, whole or to its `…`.
#[test]
fn every_mistake_is_named_with_its_line_and_key() {
    let mut others = Vec::new();
    for (right, wrong, said) in [
        (
            "[event]",
            "[evnet]",
            "9: evnet: nobody knows this key: did you mean `event`? Known here: `websocket`, …",
        ),
        (
            "flat =",
            "flatt =",
            "10: event.flatt: nobody knows this key: did you mean `flat`? Known here: `flat`, `frame`",
        ),
        (
            "flat = true",
            "flat = 1",
            "10: event.flat: true or false was expected",
        ),
        ("\nflat = true", "\nflat = true flat", "10: …"),
        (
            "\"{name}\"",
            "\"{nmae}\"",
            "12: event.frame.cmd: {nmae} is no slot here: did you mean {name}? Known here: {name}, {data}, …",
        ),
        (
            "{at:ms}",
            "{at:hours}",
            "13: event.frame.at: {at:hours} has no such form: write {at}, {at:ms}, {at:s}, {at:unix} or {at:unix-ms}",
        ),
        (
            "\"{at:ms}\"",
            "\"at {data}\"",
            "13: event.frame.at: {data} is JSON and no text: it can only stand by itself",
        ),
        (
            "\"{at:ms}\"",
            "\"{at\"",
            "13: event.frame.at: a brace is never closed: write {{ for the brace itself",
        ),
        (
            "\"{at:ms}\"",
            "\"at}\"",
            "13: event.frame.at: a brace was never opened: write }} for the brace itself",
        ),
        (
            "\"{at:ms}\"",
            "2026-11-20",
            "13: event.frame.at: JSON has no dates: write it in quotes",
        ),
        (
            "\"{at:ms}\"",
            "nan",
            "13: event.frame.at: JSON has no such number",
        ),
        (
            "[event.frame]\ncmd = \"{name}\"\nat = \"{at:ms}\"",
            "frame = \"{data}\"",
            "9: event.frame: where `flat` is true, the frame is a table of 64 fields at most",
        ),
        (
            "{lot:integer}",
            "{lot:number}",
            "3: websocket.path: {lot:number}: a parameter is text or integer",
        ),
        (
            "\"/live/{lot:integer}\"",
            "5",
            "3: websocket.path: a text in quotes was expected",
        ),
        (
            "path = \"/live/{lot:integer}\"",
            "",
            "2: websocket.path: is missing: say where this door is, …",
        ),
        (
            "/live/{lot:integer}",
            "/live",
            "5: websocket.rooms: {lot} is no slot here. Known here: {badge}",
        ),
        (
            "badge = \"text?\"",
            "badge = \"string\"",
            "4: websocket.query.badge: no kind of field: write one of id, text, …",
        ),
        (
            "badge = \"text?\"",
            "token = \"text\"",
            "2: websocket.query.token: every door understands this parameter by itself: …",
        ),
        (
            "claims = { badge",
            "names = { tokne = \"key\" }\nclaims = { badge",
            "6: websocket.names.tokne: there is no such word: did you mean `token`? …",
        ),
        (
            "claims = { badge",
            "names = { token = \"since\" }\nclaims = { badge",
            "6: websocket.names.token: two parameters can't have one name",
        ),
        (
            "claims = { badge",
            "names = { token = \"badge\" }\nclaims = { badge",
            "2: websocket.query.badge: every door understands this parameter by itself: …",
        ),
        (
            "claims = { badge",
            "claims = { bagde",
            "6: websocket.claims.bagde: this door has no such parameter: did you mean `badge`? Known here: `lot`, `badge`",
        ),
        (
            "rooms = [\"lot:{lot}\"]",
            "rooms = [5]",
            "5: websocket.rooms: a text in quotes, or a list of them was expected",
        ),
        (
            "[\"see\"]",
            "[\"book\"]",
            "22: message.book: \"book\" is a name of [message.watch] already",
        ),
        (
            "[\"integer\"]",
            "[\"integer\", \"text\"]",
            "19: message.watch.fields.lots: no kind of field: …",
        ),
        (
            "join = \"lot:{lots}\"",
            "join = \"lot:{lost}\"",
            "20: message.watch.join: {lost} is no slot here: did you mean {lots}? …",
        ),
        (
            "join = \"lot:{lots}\"",
            "join = \"lot:{lots}\"\nleave = \"a\"",
            "17: message.watch: a message means one thing: `join` or `leave`",
        ),
        (
            "call = \"parking.book\"\n",
            "",
            "24: message.book.args: `args` is a table, and goes with `call`",
        ),
        (
            "\"{spot}\"",
            "\"{result}\"",
            "25: message.book.args.p_spot: {result} is no slot here. …",
        ),
        (
            "\"{rooms}\"",
            "\"in {rooms}\"",
            "21: message.watch.answer.rooms: {rooms} is JSON and no text: it can only stand by itself",
        ),
        (
            "unknown-type",
            "unknown-typ",
            "29: errors.messages.unknown-typ: there is no such word: did you mean `unknown-type`? …",
        ),
        (
            "unauthorized",
            "unauthorised",
            "32: close.unauthorised: there is no such word: did you mean `unauthorized`? …",
        ),
        (
            "4401",
            "1006",
            "32: close.unauthorized.code: no endpoint may send this code: …",
        ),
        (
            "\"no {type}\"",
            "[]",
            "29: errors.messages.unknown-type: a text in quotes was expected",
        ),
        (
            "\"Who are you?\"",
            "[\"Who\", \"are you?\"]",
            "32: close.unauthorized.reason: a text in quotes was expected",
        ),
        (
            "\"Who are you?\"",
            "\"{who}?\"",
            "32: close.unauthorized.reason: {who} is no slot here. Known here: …",
        ),
        (
            "[messages]",
            "[socketio]\nrefusals = { forbidden = [\"no\"] }\n[messages]",
            "16: socketio.refusals.forbidden: a text in quotes was expected",
        ),
        (
            "4401",
            "99999",
            "32: close.unauthorized.code: a whole number from 1000 to 4999 was expected",
        ),
        (
            "{ code = 4401, reason = \"Who are you?\" }",
            "4401",
            "32: close.unauthorized: a table was expected: …",
        ),
        (
            "\"/health\"",
            "\"/health/{x}\"",
            "35: health.path: the path of a health door has no parameters",
        ),
        (
            "{ready:yes|no}",
            "{ready:yes}",
            "36: health.answer.up: {ready:yes} has no such form: write {ready} or {ready:yes|no}",
        ),
        (
            "answer = { up = \"{ready:yes|no}\" }",
            "unready = 700",
            "34: health.answer: is missing: say what it answers, …",
        ),
        (
            "[messages]",
            "[socketio]\nwelcome = { a = 1 }\n[messages]",
            "16: socketio.welcome: write a list: the event's name and its arguments",
        ),
        (
            "[messages]",
            "[socketio]\npath = \"/io/{x}\"\n[messages]",
            "16: socketio.path: Socket.IO's path has no parameters: use `query`",
        ),
        (
            "[messages]",
            "[socketio]\nnamespaces = [\"admin\"]\n[messages]",
            "16: socketio.namespaces: namespaces begin with /, and each is named once",
        ),
        (
            "[messages]",
            "[poll]\npath = \"/updates\"\n[messages]",
            "15: poll.answer: is missing: say what a poll answers, …",
        ),
    ] {
        let text = GOOD.replacen(right, wrong, 1);
        assert_ne!(text, GOOD, "{right}");
        let found = problems(&text);
        let first = found.lines().next().unwrap_or_default();
        let said = format!("park.toml:{said}");
        let right = match said.strip_suffix('…') {
            Some(begin) => first.starts_with(begin),
            None => first == said,
        };
        if !right {
            others.push(format!("{wrong}:\n  {first}\n  {said}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    let nothing = "park.toml:1: a dialect needs a door: write one of [websocket], [poll], [socketio], [health]";
    assert_eq!(problems(""), nothing);
    let unframed = "park.toml:1: event.frame: a WebSocket or poll needs [event.frame]: say how an event is framed";
    assert_eq!(problems("[websocket]\npath = \"/live\""), unframed);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = GOOD
        .replace("flat =", "flatt =")
        .replace("{name}", "{nmae}")
        .replace("4401", "1006")
        .replace("{ready:yes|no}", "{ready:yes}");
    let lines: Vec<_> = problems(&text)
        .lines()
        .map(|line| line[10..12].to_owned())
        .collect();
    assert_eq!(lines, ["10", "12", "32", "36"]);
}
