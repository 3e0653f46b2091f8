//! What the bench counts by: its reading of the wire and its tally, on input that is cut anywhere.

#[path = "../benches/push/crowd/tally.rs"]
#[allow(dead_code, reason = "the bench asks for more than is tested here")]
mod tally;
#[path = "../benches/push/crowd/wire.rs"]
#[allow(dead_code, reason = "the bench asks for more than is tested here")]
mod wire;

use tally::{Reading, Tally, Window};
use wire::{Message, Wire};

/// What is heard if the input comes in two parts.
fn heard(input: &[u8], cut: usize) -> Vec<String> {
    let (mut wire, mut heard) = (Wire::default(), Vec::new());
    let mut hear = |message: Message<'_>| {
        heard.push(match message {
            Message::Head(status) => status.to_string(),
            Message::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Message::Ping(payload) => format!("ping {}", String::from_utf8_lossy(payload)),
            Message::Close(code, reason) => {
                format!("close {code} {}", String::from_utf8_lossy(reason))
            }
        });
    };
    wire.feed(&input[..cut], &mut hear);
    wire.feed(&input[cut..], &mut hear);
    heard
}

fn assert_heard(input: &[u8], expected: &[&str]) {
    for cut in 0..=input.len() {
        assert_eq!(heard(input, cut), expected, "cut at {cut}");
    }
}

#[test]
fn frames_are_read_wherever_they_are_cut() {
    let mut input = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
    let long = "x".repeat(300);
    input.extend(b"\x81\x02hi\x89\x01p\x81\x7e\x01\x2c");
    input.extend(long.as_bytes());
    input.extend(b"\x88\x06\x03\xf51500");
    assert_heard(&input, &["101", "hi", "ping p", &long, "close 1013 1500"]);
}

#[test]
fn server_sent_events_are_read_whether_chunks_hold_one_or_parts_of_them() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        11\r\nid: 1\ndata: a\n\nid\r\n0a\r\n: 2\ndata: \r\n3\r\nb\n\n\r\n";
    assert_heard(chunked, &["200", "id: 1\ndata: a", "id: 2\ndata: b"]);
    let plain = b"HTTP/1.1 200 OK\r\n\r\nid: 1\ndata: a\n\nid: 2\ndata: b\n\n";
    assert_heard(plain, &["200", "id: 1\ndata: a", "id: 2\ndata: b"]);
}

#[test]
fn a_status_that_turns_away_is_heard() {
    assert_heard(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", &["503"]);
}

#[test]
fn events_are_found_however_a_server_spells_them() {
    let reading = Reading::default();
    let spellings = [
        r#"{"type":"event","id":"7","name":"bench:event","data":{"n":12,"t":1700000000.123450,"padding":"x"}}"#,
        r#"42["bench:event",{"n":12,"t":1700000000.12345,"padding":"x"}]"#,
        "id: b\nevent: bench:event\ndata: {\"n\":12,\"t\":1700000000.12345}",
    ];
    for spelling in spellings {
        let found = reading.event(spelling.as_bytes());
        assert_eq!(found, Some((12, 1_700_000_000_123_450)), "{spelling}");
    }
    assert_eq!(reading.event(br#"{"type":"welcome","bookmark":"b"}"#), None);
}

#[test]
fn a_window_knows_what_each_room_gets() {
    for rooms in 1..7 {
        let window = Window {
            first: 11,
            count: 20,
            rooms,
        };
        for room in 0..rooms + 2 {
            let events = window.first..window.first + window.count;
            let expected = events.filter(|n| n % rooms == room).count() as u64;
            assert_eq!(window.of_room(room), expected, "{room} of {rooms}");
        }
    }
}

#[test]
fn missed_repeated_and_stray_events_are_told_apart() {
    let mut tally = Tally::new(
        Window {
            first: 10,
            count: 8,
            rooms: 2,
        },
        2,
    );
    let mut arrives = |connection, n| tally.count(connection, connection as u64, n, 1000, 3000);
    // Before and behind the window; in it, but of the other's room; each connection's own.
    for n in [8, 18, 13] {
        arrives(0, n);
    }
    for n in [10, 12, 12, 16] {
        arrives(0, n);
    }
    for n in [11, 17, 11] {
        arrives(1, n);
    }
    let counts = (tally.delivered, tally.duplicates, tally.strays);
    assert_eq!(counts, (5, 2, 1));
    // Two milliseconds, to one in a hundred.
    let late = tally.latency.value_at_quantile(0.5);
    assert!((1990..=2020).contains(&late), "{late}");
    assert_eq!((tally.parts[0].len(), tally.parts[8].len()), (1, 1));
}
