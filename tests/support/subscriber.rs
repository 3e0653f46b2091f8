//! Subscribers: one type for WebSocket, SSE and polls, with frames in the WebSocket's JSON, so that a
//! station says what is to come and not by which way.
//! It must never wait longer than the shared timeout, and says what it has received when it fails.

use super::poller::Poller;
use super::server::{Answer, Served, request};
use super::{PATIENCE, documented, within};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::fmt::Write;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
    Poll,
}

/// Those that stay open.
pub const TRANSPORTS: [Transport; 2] = [Transport::WebSocket, Transport::Sse];

/// Those, and the one that asks again and again.
pub const EVERY_TRANSPORT: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Poll];

enum Wire {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Sse { body: Incoming, buffer: Vec<u8> },
    Poll(tokio::sync::mpsc::UnboundedReceiver<Result<Value, (u16, String)>>),
}

/// Somebody who is connected.
pub struct Subscriber {
    wire: Wire,
    /// Every frame received so far.
    pub received: Vec<Value>,
    /// The last bookmark received: what a browser would come back with.
    pub bookmark: Option<String>,
    /// SSE: the last `retry:` in milliseconds.
    pub retry: Option<u64>,
    /// The frame read last, as it was sent; of SSE, the block without its blank line.
    pub raw: String,
    ended: Option<(u16, String)>,
    /// What comes is in the documents for machines.
    promised: bool,
}

/// Connects by this transport; an empty token sends none.
pub async fn connect(
    transport: Transport,
    server: &impl Served,
    token: &str,
    query: &str,
) -> Subscriber {
    match transport {
        Transport::WebSocket => ws(server, token, query).await,
        Transport::Sse => sse(server, token, query).await,
        Transport::Poll => Subscriber::polling(Poller::new(server.address(), token, query)),
    }
}

/// Opens `/ws?query`.
pub async fn ws(server: &impl Served, token: &str, query: &str) -> Subscriber {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let headers = &headers[usize::from(token.is_empty())..];
    ws_with(server, query, headers).await
}

/// Opens `/ws?query`, and again whenever the server says "come back later": on a busy machine that is no
/// failure. Its welcome has been read.
pub async fn let_in(server: &impl Served, token: &str, query: &str) -> Subscriber {
    super::eventually("it is let in", async || {
        let mut socket = ws(server, token, query).await;
        match socket.next_or_end().await {
            Err((1013, _)) => None,
            came => {
                assert_eq!(came.unwrap()["type"], "welcome");
                Some(socket)
            }
        }
    })
    .await
}

/// Opens `/ws?query` with exactly these headers, such as an Origin or a subprotocol.
pub async fn ws_with(server: &impl Served, query: &str, headers: &[(&str, &str)]) -> Subscriber {
    socket(server, &format!("/ws?{query}"), headers).await
}

/// Opens a WebSocket at any path. Whatever comes over another than `/ws` is no business of the
/// documents: a dialect says what it is.
pub async fn socket(server: &impl Served, path: &str, headers: &[(&str, &str)]) -> Subscriber {
    let promised = path
        .split('?')
        .next()
        .is_some_and(|path| path.ends_with("/ws"));
    let opened = async {
        let stream = TcpStream::connect(server.address())
            .await
            .expect("somebody listens");
        let _ = stream.set_nodelay(true);
        let url = format!("ws://{}{path}", server.address());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).expect("a header's name");
            let value = HeaderValue::try_from(*value).expect("a header's value");
            request.headers_mut().insert(name, value);
        }
        let (socket, answer) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap_or_else(|error| panic!("the upgrade was refused: {error:?}"));
        if promised {
            documented::check_answer("GET", "/ws", 101, answer.headers(), None);
        }
        socket
    };
    let socket = within("a WebSocket opens", opened).await;
    let mut subscriber = Subscriber::over(Wire::WebSocket(Box::new(socket)));
    subscriber.promised = promised;
    subscriber
}

/// Opens `/sse?query`.
pub async fn sse(server: &impl Served, token: &str, query: &str) -> Subscriber {
    match try_sse(server, token, query, &[]).await {
        Ok(subscriber) => subscriber,
        Err(answer) => panic!("SSE was refused: {answer:?}"),
    }
}

/// Opens `/sse?query` with these headers besides, such as Last-Event-ID; a refusal is the answer.
pub async fn try_sse(
    server: &impl Served,
    token: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<Subscriber, Answer> {
    let bearer = format!("Bearer {token}");
    let mut headers = headers.to_vec();
    if !token.is_empty() {
        headers.push(("authorization", &bearer));
    }
    stream(server, &format!("/sse?{query}"), &headers).await
}

/// Opens any path that streams server-sent events; an answer that is none is the refusal.
pub async fn stream(
    server: &impl Served,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Subscriber, Answer> {
    let response = request(server, path, headers).await;
    if response.status() != 200 {
        return Err(Answer::of("GET", path, response).await);
    }
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    documented::check_answer("GET", path, 200, response.headers(), None);
    let buffer = Vec::new();
    let mut subscriber = Subscriber::over(Wire::Sse {
        body: response.into_body(),
        buffer,
    });
    subscriber.promised = documented::is_promised(path);
    Ok(subscriber)
}

/// Connects as a browser does, to whom nothing that fails is a surprise: why not, in words. SSE that
/// is refused for good, by a status, is `refused` and the answer.
pub async fn try_connect(
    transport: Transport,
    address: &str,
    token: &str,
    query: &str,
) -> Result<Subscriber, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let bearer = format!("Bearer {token}");
    if transport == Transport::WebSocket {
        let request = format!("ws://{address}/ws?{query}").into_client_request();
        let mut request = request.expect("a request");
        let bearer = HeaderValue::try_from(bearer).expect("a header's value");
        request.headers_mut().insert("authorization", bearer);
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (socket, _) = opened.map_err(|error| error.to_string())?;
        return Ok(Subscriber::over(Wire::WebSocket(Box::new(socket))));
    }
    if transport == Transport::Poll {
        return Ok(Subscriber::polling(Poller::new(address, token, query)));
    }
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::get(format!("/sse?{query}"))
        .header("host", address)
        .header("authorization", bearer)
        .body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.expect("a request")).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() != 200 {
        // It may be cut in the middle, as any answer.
        let answer = Answer::try_of("GET", "/sse", answer);
        let answer = within("the end of an answer", answer).await;
        let answer = answer.map_err(|error| error.to_string())?;
        return Err(format!("refused: {answer:?}"));
    }
    let (body, buffer) = (answer.into_body(), Vec::new());
    Ok(Subscriber::over(Wire::Sse { body, buffer }))
}

impl Subscriber {
    fn over(wire: Wire) -> Self {
        Self {
            wire,
            received: Vec::new(),
            bookmark: None,
            retry: None,
            raw: String::new(),
            ended: None,
            promised: true,
        }
    }

    /// Polls from now on, until it is dropped.
    fn polling(mut poller: Poller) -> Self {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = poller.next() => next,
                    () = sender.closed() => return,
                };
                let ended = next.is_err();
                if sender.send(next).is_err() || ended {
                    return;
                }
            }
        });
        Self::over(Wire::Poll(receiver))
    }

    /// The next frame, whatever it is. SSE's come as the WebSocket's; a lone id as `heartbeat`.
    pub async fn next(&mut self) -> Value {
        match self.next_or_end().await {
            Ok(frame) => frame,
            Err((code, reason)) => panic!(
                "a frame was expected, and the connection closed: {code} {reason}\n{}",
                self.story()
            ),
        }
    }

    /// The next frame, or the close code and reason; see [`Subscriber::closed`].
    pub async fn next_or_end(&mut self) -> Result<Value, (u16, String)> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let Ok(read) = tokio::time::timeout(PATIENCE, read(&mut self.wire)).await else {
            panic!("no frame within {PATIENCE:?}\n{}", self.story());
        };
        let frame = match read {
            Ok(text) => {
                self.raw = text;
                match self.wire {
                    Wire::WebSocket(_) | Wire::Poll(_) => {
                        let frame = serde_json::from_str(&self.raw)
                            .unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.raw));
                        // An answer to a poll was looked at as a whole.
                        if self.promised && matches!(self.wire, Wire::WebSocket(_)) {
                            documented::check_frame(&frame);
                        }
                        frame
                    }
                    Wire::Sse { .. } => {
                        if self.promised {
                            documented::check_block(&self.raw);
                        }
                        self.frame_of_sse()
                    }
                }
            }
            Err((code, mut reason)) => {
                match self.wire {
                    Wire::Sse { .. } => reason = self.last_error(),
                    Wire::WebSocket(_) if self.promised && code != 1005 && code != 1006 => {
                        documented::check_close(code, &reason);
                    }
                    _ => {}
                }
                self.ended = Some((code, reason.clone()));
                return Err((code, reason));
            }
        };
        // A result's is the place of its data, an acknowledgement's that of what is stored.
        if let Some(bookmark) = frame["bookmark"].as_str()
            && frame["type"] != "result"
            && frame["type"] != "acked"
        {
            self.bookmark = Some(bookmark.to_owned());
        }
        self.received.push(frame.clone());
        Ok(frame)
    }

    /// The next frame that is no heartbeat; it has to be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            // Heartbeats alone would keep it waiting for ever.
            let Ok(frame) = tokio::time::timeout_at(deadline, self.next()).await else {
                panic!("no {kind} within {PATIENCE:?}\n{}", self.story());
            };
            if frame["type"] == kind {
                return frame;
            }
            assert!(
                frame["type"] == "heartbeat",
                "{kind} was expected\n{}",
                self.story()
            );
        }
    }

    /// The next frame that is no heartbeat; it has to be an event of this name.
    pub async fn expect_event(&mut self, name: &str) -> Value {
        let event = self.expect("event").await;
        assert!(
            event["name"] == name,
            "event {name} was expected\n{}",
            self.story()
        );
        event
    }

    /// The events before the first of this name. Anything else but heartbeats is a failure.
    pub async fn events_until(&mut self, name: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.expect("event").await;
            if event["name"] == name {
                return events;
            }
            events.push(event);
        }
    }

    /// All frames but heartbeats before the first event of this name.
    pub async fn frames_until(&mut self, name: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["type"] == "event" && frame["name"] == name {
                return frames;
            }
            if frame["type"] != "heartbeat" {
                frames.push(frame);
            }
        }
    }

    /// Sends a frame; of WebSocket only.
    pub async fn send(&mut self, frame: Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    /// Sends whatever a WebSocket can carry.
    pub async fn send_message(&mut self, message: Message) {
        let Wire::WebSocket(socket) = &mut self.wire else {
            panic!("only a WebSocket goes both ways");
        };
        let sent = within("a frame is sent", socket.send(message)).await;
        sent.unwrap_or_else(|error| panic!("a frame could not be sent: {error:?}"));
    }

    /// Reads to the end. WebSocket: close code and reason, 1006 without a close frame. SSE: 200 and
    /// the code of the last `rowcast:error`; 1006 if the stream was torn. Polls: status and code of
    /// the refusal, or 1006. Frames that came before are in `received`.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Err(ended) = self.next_or_end().await {
                return ended;
            }
        }
    }

    /// One block of server-sent events in the WebSocket's JSON.
    fn frame_of_sse(&mut self) -> Value {
        let (mut name, mut id, mut data) = (None, None, None);
        for line in self.raw.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = Some(value),
                "id" => id = Some(value),
                "data" => {
                    assert!(data.is_none(), "data goes on one line: {}", self.raw);
                    data = Some(
                        serde_json::from_str::<Value>(value)
                            .unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.raw)),
                    );
                }
                "retry" => self.retry = Some(value.parse().expect("milliseconds")),
                "" => {}
                other => panic!("no field of SSE: {other}"),
            }
        }
        match (name, data) {
            (Some(name), Some(mut frame)) if name.starts_with("rowcast:") => {
                assert_eq!(
                    format!("rowcast:{}", frame["type"].as_str().unwrap_or("")),
                    name
                );
                if let Some(id) = id {
                    frame["bookmark"] = id.into();
                }
                frame
            }
            (Some(name), Some(data)) => {
                let mut frame = json!({ "type": "event", "name": name, "data": data });
                if let Some(id) = id {
                    frame["bookmark"] = id.into();
                    frame["id"] = id.rsplit('.').next().into();
                }
                frame
            }
            (None, None) => json!({ "type": "heartbeat", "bookmark": id }),
            _ => panic!("half an event: {}", self.raw),
        }
    }

    fn last_error(&self) -> String {
        let errors = self.received.iter().rev();
        let code = errors
            .filter(|frame| frame["type"] == "error")
            .find_map(|frame| frame["code"].as_str());
        code.unwrap_or_default().to_owned()
    }

    fn story(&self) -> String {
        let mut story = String::from("received so far:");
        for frame in &self.received {
            let _ = write!(story, "\n  {frame}");
        }
        story
    }
}

/// The next frame's text, or the end.
async fn read(wire: &mut Wire) -> Result<String, (u16, String)> {
    match wire {
        Wire::WebSocket(socket) => loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    // The answer is sent by reading on.
                    while let Some(Ok(_)) = socket.next().await {}
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(Message::Close(None))) => return Err((1005, String::new())),
                Some(Ok(Message::Binary(_))) => panic!("the server sends no binary frames"),
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None => return Err((1006, String::new())),
                Some(Err(error)) => return Err((1006, error.to_string())),
            }
        },
        Wire::Sse { body, buffer } => loop {
            if let Some(end) = buffer.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8(block[..end].to_vec()).expect("UTF-8"));
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        buffer.extend_from_slice(bytes);
                    }
                }
                Some(Err(error)) => return Err((1006, error.to_string())),
                None => return Err((200, String::new())),
            }
        },
        Wire::Poll(frames) => match frames.recv().await {
            Some(Ok(frame)) => Ok(frame.to_string()),
            Some(Err(ended)) => Err(ended),
            None => Err((1006, "ended before".into())),
        },
    }
}
