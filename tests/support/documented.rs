//! Holds what servers send against `docs/asyncapi.yaml` and `docs/openapi.yaml`, whichever station
//! receives it, and remembers what each test has seen of them.
//! It must never let anything pass that is not documented: fields, codes, headers, statuses.

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

thread_local! {
    /// A test's own: each runs on a thread of its own, with its subscribers. Nothing for those who
    /// will not ask.
    static SEEN: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
}

/// Both documents with everything in place that they refer to.
pub static ASYNCAPI: LazyLock<Value> = LazyLock::new(|| load("asyncapi.yaml"));
pub static OPENAPI: LazyLock<Value> = LazyLock::new(|| load("openapi.yaml"));

static FRAMES: LazyLock<BTreeMap<String, Vec<Message>>> = LazyLock::new(|| {
    let mut by_type = BTreeMap::<String, Vec<Message>>::new();
    for message in messages("ws", "send") {
        let kind = message.payload.as_ref().map(|payload| &payload.schema);
        let kind = kind.and_then(|schema| schema["properties"]["type"]["const"].as_str());
        let kind = kind.expect("a frame has a type").to_owned();
        by_type.entry(kind).or_default().push(message);
    }
    by_type
});
static BLOCKS: LazyLock<Vec<Message>> = LazyLock::new(|| messages("sse", "send"));
static RESPONSES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(responses);
static ANSWERS: LazyLock<BTreeMap<(String, String), Schema>> = LazyLock::new(answers);

/// A schema made strict: what it does not name is an error.
pub struct Schema {
    pub schema: Value,
    validator: Validator,
}

impl Schema {
    pub fn of(schema: &Value) -> Self {
        let mut schema = schema.clone();
        forbid_the_unknown(&mut schema);
        let validator = jsonschema::draft202012::new(&schema)
            .unwrap_or_else(|error| panic!("no schema: {error}: {schema}"));
        Self { schema, validator }
    }

    pub fn errors(&self, value: &Value) -> Vec<String> {
        let errors = self.validator.iter_errors(value);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

/// A message of the document.
pub struct Message {
    pub name: String,
    pub headers: Option<Schema>,
    pub payload: Option<Schema>,
}

impl Message {
    /// Whether this is what came. Asked of every frame of every test: reasons, which cost many times
    /// as much, are [`Message::errors`]' alone.
    fn fits(&self, headers: &Value, payload: Option<&Value>) -> bool {
        let is_valid = |schema: &Schema, value: &Value| schema.validator.is_valid(value);
        let headers_fit = self.headers.as_ref().is_none_or(|h| is_valid(h, headers));
        headers_fit
            && match (&self.payload, payload) {
                (Some(schema), Some(payload)) => is_valid(schema, payload),
                (None, None) => true,
                _ => false,
            }
    }

    fn errors(&self, headers: &Value, payload: Option<&Value>) -> Vec<String> {
        let headers_errors = self.headers.as_ref().map(|h| h.errors(headers));
        let mut errors = headers_errors.unwrap_or_default();
        match (&self.payload, payload) {
            (Some(schema), Some(payload)) => errors.extend(schema.errors(payload)),
            (None, None) => {}
            _ => errors.push("with data, or without".into()),
        }
        errors
    }
}

/// The text of a file of `docs`.
pub fn text(file: &str) -> String {
    let path = format!("{}/docs/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A document as it is written.
pub fn raw(file: &str) -> Value {
    yaml_serde::from_str(&text(file)).unwrap_or_else(|error| panic!("docs/{file}: {error}"))
}

fn load(file: &str) -> Value {
    let files = ["asyncapi.yaml", "openapi.yaml"].map(|file| (file, raw(file)));
    let files = BTreeMap::from(files);
    resolved(&files[file], file, &files)
}

/// The value with `$ref`s replaced by what they point at, in this file or the other.
fn resolved(value: &Value, file: &str, files: &BTreeMap<&str, Value>) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                let (other, pointer) = to.split_once('#').expect("a pointer");
                let other = if other.is_empty() { file } else { other };
                let found = files.get(other).and_then(|file| file.pointer(pointer));
                let found = found.unwrap_or_else(|| panic!("{file}: nothing is at {to}"));
                return resolved(found, other, files);
            }
            let entries = map.iter();
            let entries = entries.map(|(key, value)| (key.clone(), resolved(value, file, files)));
            Value::Object(entries.collect())
        }
        Value::Array(list) => list
            .iter()
            .map(|value| resolved(value, file, files))
            .collect(),
        other => other.clone(),
    }
}

fn forbid_the_unknown(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.get("type") == Some(&json!("object")) {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(forbid_the_unknown);
        }
        Value::Array(list) => list.iter_mut().for_each(forbid_the_unknown),
        _ => {}
    }
}

/// The messages of a channel that the server sends, asked or unasked, or (`receive`) is sent.
pub fn messages(channel: &str, action: &str) -> Vec<Message> {
    let mut names = BTreeSet::new();
    let document = raw("asyncapi.yaml");
    let start = format!("#/channels/{channel}");
    for operation in document["operations"]
        .as_object()
        .expect("operations")
        .values()
    {
        if operation["channel"]["$ref"] != start.as_str() {
            continue;
        }
        let sent = (operation["action"] == action).then_some(&operation["messages"]);
        let replied = (action == "send").then_some(&operation["reply"]["messages"]);
        let lists = [sent, replied].into_iter().flatten();
        for reference in lists.filter_map(Value::as_array).flatten() {
            let name = reference["$ref"]
                .as_str()
                .and_then(|to| to.rsplit('/').next());
            names.insert(name.expect("a message's name").to_owned());
        }
    }
    let of = |name: String| {
        let message = &ASYNCAPI["channels"][channel]["messages"][&name];
        Message {
            headers: message.get("headers").map(Schema::of),
            payload: message.get("payload").map(Schema::of),
            name,
        }
    };
    names.into_iter().map(of).collect()
}

/// What the documents say is to be seen, as [`seen`] spells it.
pub fn expected() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (channel, messages) in [
        ("ws", FRAMES.values().flatten().collect()),
        ("sse", BLOCKS.iter().collect::<Vec<_>>()),
    ] {
        for message in messages {
            let name = format!("{channel} {}", message.name);
            for part in [&message.headers, &message.payload].into_iter().flatten() {
                collect(&part.schema, None, &name, &mut all);
            }
            all.insert(name);
        }
    }
    for close in ASYNCAPI["channels"]["ws"]["x-close-codes"]
        .as_array()
        .expect("a list")
    {
        all.insert(format!("close {}", close["code"]));
    }
    for (name, response) in &*RESPONSES {
        let headers = response["headers"].as_object().into_iter().flatten();
        all.extend(headers.map(|(header, _)| seen_header(name, header)));
        let body = &response["content"]["application/json"]["schema"];
        if response.get("x-codes").is_none() {
            collect(body, None, name, &mut all);
        }
        let codes = response["x-codes"].as_array().into_iter().flatten();
        all.extend(
            codes
                .filter_map(Value::as_str)
                .map(|code| format!("{name} {code}")),
        );
        all.insert(name.clone());
    }
    all
}

/// What this test has seen so far: messages, fields, words of lists, close codes, statuses.
pub fn seen() -> BTreeSet<String> {
    SEEN.with_borrow(Clone::clone).unwrap_or_default()
}

/// From here on what this test sees is remembered.
pub fn begin_to_see() {
    SEEN.set(Some(BTreeSet::new()));
}

fn remember(what: String) {
    SEEN.with_borrow_mut(|seen| seen.as_mut().map(|seen| seen.insert(what)));
}

/// The fields of a schema and the words of its lists; of those that an instance has, if there is one.
fn collect(schema: &Value, instance: Option<&Value>, name: &str, into: &mut BTreeSet<String>) {
    let words = schema["enum"].as_array().into_iter().flatten();
    for word in words.filter(|word| instance.is_none_or(|instance| instance == *word)) {
        into.insert(format!("{name}={}", word.as_str().unwrap_or_default()));
    }
    for (field, below) in schema["properties"].as_object().into_iter().flatten() {
        let value = instance.map(|instance| instance.get(field));
        if value == Some(None) {
            continue;
        }
        let name = format!("{name}.{field}");
        collect(below, value.flatten(), &name, into);
        into.insert(name);
    }
    if let Some(items) = schema.get("items") {
        match instance {
            None => collect(items, None, &format!("{name}[]"), into),
            Some(list) => list.as_array().into_iter().flatten().for_each(|item| {
                collect(items, Some(item), &format!("{name}[]"), into);
            }),
        }
    }
}

fn saw(schema: &Schema, instance: &Value, name: &str) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            collect(&schema.schema, Some(instance), name, seen);
        }
    });
}

/// A frame that a server sent by WebSocket.
pub fn check_frame(frame: &Value) {
    let kind = frame["type"].as_str().unwrap_or_default();
    let candidates = FRAMES.get(kind);
    let candidates = candidates.unwrap_or_else(|| panic!("no message of this type: {frame}"));
    check_one(candidates, "ws", &json!({}), Some(frame));
}

/// A block of server-sent events, without its blank line.
pub fn check_block(block: &str) {
    let (mut headers, mut data) = (Map::new(), None);
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (field, value) = line.split_once(": ").unwrap_or((line, ""));
        if field == "data" {
            data = Some(serde_json::from_str(value).unwrap_or_else(|e| panic!("{e}: {block}")));
        } else {
            let number = (field == "retry").then(|| value.parse::<u64>().expect("milliseconds"));
            headers.insert(field.into(), number.map_or(value.into(), Into::into));
        }
    }
    if !headers.is_empty() || data.is_some() {
        check_one(&BLOCKS, "sse", &headers.into(), data.as_ref());
    }
}

/// One message has to fit, and only one.
fn check_one(candidates: &[Message], channel: &str, headers: &Value, payload: Option<&Value>) {
    let fits = |message: &&Message| message.fits(headers, payload);
    let fitting: Vec<_> = candidates.iter().filter(fits).collect();
    let [message] = fitting[..] else {
        let names: Vec<_> = fitting.iter().map(|message| &message.name).collect();
        let wrong = candidates.iter().map(|message| {
            let errors = message.errors(headers, payload);
            format!("{}: {errors:?}", message.name)
        });
        let wrong: Vec<_> = wrong.collect();
        let payload = payload.unwrap_or(&Value::Null);
        panic!(
            "docs/asyncapi.yaml has one message for each frame; it has {names:?} for \
                {headers} {payload}\n{}",
            wrong.join("\n")
        );
    };
    let name = format!("{channel} {}", message.name);
    for (schema, value) in [
        (&message.headers, Some(headers)),
        (&message.payload, payload),
    ] {
        if let (Some(schema), Some(value)) = (schema, value) {
            saw(schema, value, &name);
        }
    }
    remember(name);
}

/// A close frame of a server. 1000 answers a close of the client's own.
pub fn check_close(code: u16, reason: &str) {
    if code == 1000 {
        return;
    }
    let codes = ASYNCAPI["channels"]["ws"]["x-close-codes"]
        .as_array()
        .expect("a list");
    let close = codes.iter().find(|close| close["code"] == code);
    let close =
        close.unwrap_or_else(|| panic!("docs/asyncapi.yaml has no close code {code} {reason}"));
    if let Some(schema) = close.get("reason") {
        let errors = Schema::of(schema).errors(&reason.into());
        assert!(errors.is_empty(), "{code}: {errors:?}");
    }
    assert!(!reason.is_empty(), "{code} says no reason");
    remember(format!("close {code}"));
}

/// `GET /sse 401` and what the document says of it, for all paths.
fn responses() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (path, methods) in OPENAPI["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let method = method.to_uppercase();
                all.insert(format!("{method} {path} {status}"), response.clone());
            }
        }
    }
    for (status, response) in [
        ("400", "notHttp"),
        ("404", "notFound"),
        ("431", "headTooLarge"),
    ] {
        let response = OPENAPI["components"]["responses"][response].clone();
        all.insert(format!("any path {status}"), response);
    }
    all
}

/// By answer, then by `body` or a header's name.
fn answers() -> BTreeMap<(String, String), Schema> {
    let mut all = BTreeMap::new();
    for (name, response) in &*RESPONSES {
        for (header, of) in response["headers"].as_object().into_iter().flatten() {
            all.insert((name.clone(), header.clone()), Schema::of(&of["schema"]));
        }
        for (kind, of) in response["content"].as_object().into_iter().flatten() {
            all.insert(
                (name.clone(), format!("body {kind}")),
                Schema::of(&of["schema"]),
            );
        }
    }
    all
}

/// What the transport itself says.
const NOT_OURS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
];

/// What the paths of dialects begin with, in the stations: their wire is their file's, or Socket.IO's.
const DIALECTS: [&str; 3] = ["/live/", "/socket.io/", "/G1_SpaManagement/"];

/// Whether a path is promised to anybody by these documents: the console's are its own page's, and
/// may change with it.
pub fn is_promised(path: &str) -> bool {
    !(path == "/console"
        || path.starts_with("/console/")
        || DIALECTS.iter().any(|dialect| path.starts_with(dialect)))
}

/// What the documents hold below, too: a base path for stations that set one.
pub const BASE_PATH: &str = "/below/here";

/// An answer over HTTP; a body that does not end is left out.
pub fn check_answer(
    method: &str,
    path: &str,
    status: u16,
    headers: &hyper::HeaderMap,
    body: Option<&str>,
) {
    if !is_promised(path) {
        return;
    }
    // HEAD is answered as GET is, but for the body.
    let (method, body) = match method {
        "HEAD" => ("GET", None),
        _ => (method, body),
    };
    let Some(name) = answer_to(method, path, status) else {
        return;
    };
    let found = RESPONSES.get(&name);
    let response = found.unwrap_or_else(|| panic!("docs/openapi.yaml has no {name}: {body:?}"));
    check_headers(&name, response, headers);
    let kind = headers
        .get("content-type")
        .map(|kind| kind.to_str().expect("text"));
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default());
    match (kind, body) {
        (Some(kind), Some(body)) => check_body(&name, response, kind, body),
        (None, body) => {
            assert!(
                body.unwrap_or_default().is_empty(),
                "{name}: a body of no kind: {body:?}"
            );
            assert!(response.get("content").is_none(), "{name} has no body");
        }
        (Some(_), None) => {}
    }
    remember(name);
}

/// The name by which the document has an answer; nothing where it need not.
fn answer_to(method: &str, path: &str, status: u16) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix(BASE_PATH).unwrap_or(path);
    let mut paths = OPENAPI["paths"].as_object().expect("paths").iter();
    let operation = method.to_lowercase();
    let known =
        paths.find(|(known, methods)| fits(known, path) && methods.get(&operation).is_some());
    let name = match known {
        Some((known, _)) => format!("{method} {known} {status}"),
        // Served for its own page alone, which comes with it.
        None if path.starts_with("/console") && status != 404 => return None,
        None => format!("any path {status}"),
    };
    // A method that nothing takes, and operators' paths where they were moved away.
    let is_nowhere = status == 404 && !RESPONSES.contains_key(&name);
    Some(if is_nowhere {
        "any path 404".into()
    } else {
        name
    })
}

fn check_headers(name: &str, response: &Value, headers: &hyper::HeaderMap) {
    let documented = response["headers"].as_object().cloned().unwrap_or_default();
    for (header, of) in &documented {
        let Some(value) = headers.get(header) else {
            assert!(of["required"] != true, "{name} lacks the header {header}");
            continue;
        };
        let value = value.to_str().expect("text");
        let errors = ANSWERS[&(name.to_owned(), header.clone())].errors(&value.into());
        assert!(errors.is_empty(), "{name}, {header}: {errors:?}");
        remember(seen_header(name, header));
    }
    let unknown = |header: &&str| !documented.contains_key(*header) && !NOT_OURS.contains(header);
    let unknown: Vec<_> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(unknown)
        .collect();
    assert!(
        unknown.is_empty(),
        "{name} has headers that docs/openapi.yaml has not: {unknown:?}"
    );
}

fn check_body(name: &str, response: &Value, kind: &str, body: &str) {
    let schema = ANSWERS.get(&(name.to_owned(), format!("body {kind}")));
    let schema = schema.unwrap_or_else(|| panic!("docs/openapi.yaml: {name} is no {kind}"));
    let body = if kind == "application/json" {
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{name}: {error}: {body}"))
    } else {
        Value::from(body)
    };
    let errors = schema.errors(&body);
    assert!(errors.is_empty(), "{name}: {errors:?}: {body}");
    match response.get("x-codes") {
        Some(codes) => check_code(name, codes, &body),
        None => saw(schema, &body, name),
    }
}

/// An answer as it was read, to a request as it was written; nothing where the socket was closed.
pub fn check_raw(request: &str, answer: &str) {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        assert!(answer.is_empty(), "half a head: {answer}");
        return;
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let mut headers = hyper::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, value.parse().expect("text"));
    }
    let mut asked = request.split(' ');
    let (method, path) = (
        asked.next().unwrap_or_default(),
        asked.next().unwrap_or_default(),
    );
    let streams = headers.contains_key("transfer-encoding")
        || headers
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream");
    // Before anybody has asked for anything, as far as the service knows.
    let path = if body.is_empty() && [400, 431].contains(&status) {
        ""
    } else {
        path
    };
    check_answer(method, path, status, &headers, (!streams).then_some(body));
}

fn check_code(name: &str, codes: &Value, body: &Value) {
    let code = &body["error"]["code"];
    let listed = codes.as_array().is_some_and(|codes| codes.contains(code));
    assert!(listed, "{name} with the code {code}");
    remember(format!("{name} {}", code.as_str().unwrap_or_default()));
}

/// A header counts once for all statuses of a path and method.
fn seen_header(answer: &str, header: &str) -> String {
    let asked = answer.rsplit_once(' ').map_or(answer, |(asked, _)| asked);
    format!("{asked} {header}")
}

/// Whether a path is one of this template.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(one, other)| one == other || one.starts_with('{'))
}
