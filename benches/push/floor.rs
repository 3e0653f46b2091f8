//! The floor: what pushing costs where nothing is decided. One thread calls `send` on each socket of
//! a room with one ready frame, as large as Rowcast's; another one accepts, and sleeps meanwhile.
//! It is told what to push, or hears it from the database as the peers do, by LISTEN.
//! Hands frames to sockets. It must never do for a message what the kernel does not demand.

use crate::source::{Flow, payload};
use crate::{Failure, crowd};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

/// What is said to every handshake; nobody here checks the key.
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: unchecked\r\n\r\n";

type Rooms = Arc<Mutex<Vec<Vec<TcpStream>>>>;

/// What it is told: a line of numbers.
pub fn order(flow: Flow) -> String {
    let (first, count, rooms, rate) = (flow.first, flow.count, flow.rooms, flow.rate);
    format!("{first} {count} {rooms} {rate}\n")
}

fn ordered(line: &str) -> Option<Flow> {
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Flow {
        first: next()?,
        count: next()?,
        rooms: next()?,
        rate: next()?,
        rows: 1,
    })
}

/// Serves on this port until standard input ends; says `done` behind each order.
pub fn obey(port: u16) -> Result<(), Failure> {
    let rooms = open(port)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let flow = ordered(&line?).ok_or("an order is four numbers")?;
        push(flow, &rooms);
        println!("done");
    }
    Ok(())
}

/// Serves on this port what the database of `DATABASE_URL` notifies, until that goes away.
#[tokio::main(flavor = "current_thread")]
pub async fn listen(port: u16) -> Result<(), Failure> {
    let rooms = open(port)?;
    let (client, mut connection) =
        tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
    let told = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(event) = message? {
                tell(event.payload(), &rooms)?;
            }
        }
        Err("the database has ended".into())
    };
    let asked = async {
        client.batch_execute("listen bench").await?;
        println!("ready");
        std::future::pending::<Result<(), Failure>>().await
    };
    tokio::try_join!(told, asked).map(|_: ((), ())| ())
}

/// Lets everybody in, on a thread of its own.
fn open(port: u16) -> Result<Rooms, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let rooms = Rooms::default();
    let seats = Arc::clone(&rooms);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who goes away meanwhile does not matter to those who stay.
            let _ = seat(stream, &seats);
        }
    });
    Ok(rooms)
}

fn seat(mut stream: TcpStream, rooms: &Rooms) -> Result<(), Failure> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..length]);
    }
    let head = String::from_utf8_lossy(&head);
    let room = head.split_once("room=r").ok_or("no room")?.1;
    let room: String = room.chars().take_while(char::is_ascii_digit).collect();
    let room: usize = room.parse()?;
    stream.set_nodelay(true)?;
    stream.write_all(SWITCH)?;
    stream.set_nonblocking(true)?;
    let mut rooms = rooms.lock();
    if rooms.len() <= room {
        rooms.resize_with(room + 1, Vec::new);
    }
    rooms[room].push(stream);
    Ok(())
}

fn push(flow: Flow, rooms: &Rooms) {
    let rooms = rooms.lock();
    let began = Instant::now();
    for index in 0..flow.count {
        if flow.rate > 0 {
            let due = Duration::from_secs_f64(index as f64 / flow.rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let n = flow.first + index;
        let room = usize::try_from(n % flow.rooms).unwrap_or_default();
        send(&frame(n, &payload(n, crowd::now())), room, &rooms);
    }
}

/// Pushes `{"room":"rROOM","n":N,…}`, as a row trigger has notified it.
fn tell(notified: &str, rooms: &Rooms) -> Result<(), Failure> {
    let parts = notified.strip_prefix("{\"room\":\"r");
    let (room, rest) = parts
        .and_then(|rest| rest.split_once("\","))
        .ok_or("no room")?;
    let n = rest
        .trim_start_matches("\"n\":")
        .split(',')
        .next()
        .unwrap_or_default();
    send(
        &frame(n.parse()?, &format!("{{{rest}")),
        room.parse()?,
        &rooms.lock(),
    );
    Ok(())
}

fn send(frame: &[u8], room: usize, rooms: &[Vec<TcpStream>]) {
    for mut stream in rooms.get(room).into_iter().flatten() {
        // What a full socket does not take is lost: whoever stalls is not waited for here either.
        let _ = stream.write(frame);
    }
}

/// An event with all that Rowcast's has around the payload.
fn frame(n: u64, payload: &str) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"event\",\"id\":\"{n}\",\"name\":\"bench:event\",\"channel\":\"bench.event\",\
         \"data\":{payload},\"at\":\"2026-11-20T10:30:00.123456Z\",\
         \"bookmark\":\"9b4590cc7e.{n}_0.{n}_0.{n}\"}}"
    );
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0x81, 126, length[0], length[1]];
    frame.extend_from_slice(text.as_bytes());
    frame
}
