//! Polls again and again with the last bookmark, as a page does, over one connection for as long as
//! that lasts, and tells what comes in the frames of the other transports.
//! It must never skip, repeat or reorder what the answers hold, nor ask with another bookmark.

use super::server::Answer;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use tokio::net::TcpStream;

/// Somebody who polls; dropped, it hangs up.
pub struct Poller {
    address: String,
    token: String,
    /// As it was given: the rooms, perhaps `wait` and `since`; and `load` and `from` until that is
    /// done, whose rooms are then among the others.
    query: String,
    since: Option<String>,
    link: Option<SendRequest<Empty<Bytes>>>,
    /// How many it took so far.
    pub connections: usize,
    frames: VecDeque<Value>,
    greeted: bool,
    refused: BTreeSet<String>,
}

impl Poller {
    pub fn new(address: &str, token: &str, query: &str) -> Self {
        Self {
            address: address.to_owned(),
            token: token.to_owned(),
            query: query.to_owned(),
            since: None,
            link: None,
            connections: 0,
            frames: VecDeque::new(),
            greeted: false,
            refused: BTreeSet::new(),
        }
    }

    /// The next frame; or the status and the code of a refusal, or 1006 of a link that was torn.
    pub async fn next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            let torn = |error: String| (1006, error);
            let answer = self.ask().await.map_err(torn)?;
            let said: Value = serde_json::from_str(&answer.body)
                .unwrap_or_else(|error| panic!("{error}: {answer:?}"));
            if answer.status != 200 {
                let code = said["error"]["code"].as_str().expect("a code");
                return Err((answer.status, code.to_owned()));
            }
            self.unpack(&said);
        }
    }

    /// One poll, over the connection of the last if that still holds.
    pub async fn ask(&mut self) -> Result<Answer, String> {
        let words = |error: hyper::Error| error.to_string();
        let since = match &self.since {
            // What is brought first stands in the query already.
            Some(since) => format!("&since={since}"),
            // How it went is told at once, as a stream tells it.
            None if !self.query.contains("wait=") => "&wait=0".to_owned(),
            None => String::new(),
        };
        let query = match &self.since {
            Some(_) => without_since(&self.query),
            None => self.query.clone(),
        };
        let reused = self.link.take().filter(|link| !link.is_closed());
        let mut link = match reused {
            Some(link) => link,
            None => {
                let stream = TcpStream::connect(&self.address).await;
                let stream = TokioIo::new(stream.map_err(|error| error.to_string())?);
                let shaken = hyper::client::conn::http1::handshake(stream).await;
                let (link, connection) = shaken.map_err(words)?;
                tokio::spawn(connection);
                self.connections += 1;
                link
            }
        };
        link.ready().await.map_err(words)?;
        let mut request =
            Request::get(format!("/poll?{query}{since}")).header("host", &self.address);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let request = request.body(Empty::new()).expect("a request");
        let response = link.send_request(request).await.map_err(words)?;
        let answer = Answer::try_of("GET", "/poll", response)
            .await
            .map_err(words)?;
        self.link = Some(link);
        Ok(answer)
    }

    /// An answer as the frames of a stream: the bookmark of the whole comes last.
    fn unpack(&mut self, said: &Value) {
        let bookmark = said["bookmark"].as_str().expect("a bookmark").to_owned();
        let events = said["events"].as_array().expect("events");
        let is_gap = said["outcome"] == "gap";
        let brought = self.since.clone().or_else(|| since_of(&self.query));
        let moved_on = if events.is_empty() && !is_gap {
            Some(bookmark.clone())
        } else {
            brought.clone().filter(|_| said["reason"] != "bookmark")
        };
        let greets = !std::mem::replace(&mut self.greeted, true);
        if greets {
            let mut welcome = said.clone();
            welcome["type"] = "welcome".into();
            welcome["bookmark"] = json!(moved_on);
            self.frames.push_back(welcome);
        }
        for error in said["errors"].as_array().expect("errors") {
            // It is said with every answer, and is news once.
            let room = error["room"].to_string();
            if self.refused.insert(room) {
                self.frames.push_back(error.clone());
            }
        }
        let resumes = brought.is_some() || self.query.contains("reader=");
        if (greets && resumes) || is_gap {
            let mut subscribed = said.clone();
            subscribed["type"] = "subscribed".into();
            let of_load = events.iter().position(|frame| frame["id"] == "load");
            subscribed["count"] = of_load.unwrap_or(events.len()).into();
            let at = if is_gap {
                Some(bookmark.clone())
            } else {
                moved_on
            };
            subscribed["bookmark"] = json!(at);
            self.frames.push_back(subscribed);
        }
        self.frames.extend(events.iter().cloned());
        if events.iter().any(|frame| frame["id"] == "load") {
            self.query = loaded(&self.query);
        }
        self.frames
            .push_back(json!({ "type": "heartbeat", "bookmark": bookmark }));
        self.since = Some(bookmark);
    }
}

fn since_of(query: &str) -> Option<String> {
    let given = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("since="));
    given.filter(|since| !since.is_empty()).map(str::to_owned)
}

fn without_since(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.starts_with("since="));
    pairs.collect::<Vec<_>>().join("&")
}

/// The query of whoever has loaded: its rooms are as any others.
fn loaded(query: &str) -> String {
    let mut rooms = Vec::new();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("rooms" | "load", list)) => rooms.push(list),
            Some(("from", _)) => {}
            _ => rest.push(pair),
        }
    }
    let rooms = format!("rooms={}", rooms.join(","));
    rest.push(&rooms);
    rest.join("&")
}
