//! The floor: what pushing costs where nothing is decided. One thread calls `send` on each socket of
//! a room with one ready frame, as large as Rowcast's; another one accepts, and sleeps meanwhile.
//! Hands frames to sockets. It must never do for a message what the kernel does not demand.

use crate::source::payload;
use crate::{Failure, crowd};
use parking_lot::Mutex;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is said to every handshake; nobody here checks the key.
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: unchecked\r\n\r\n";

type Rooms = Arc<Mutex<Vec<Vec<TcpStream>>>>;

/// What it is told, a line of numbers each: events `first` to `first + count - 1`, one room after the other.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    pub first: u64,
    pub count: u64,
    pub rooms: u64,
    pub rate: u64,
}

impl Orders {
    pub fn line(self) -> String {
        let Self {
            first,
            count,
            rooms,
            rate,
        } = self;
        format!("{first} {count} {rooms} {rate}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|word| word.trim().parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            first: next()?,
            count: next()?,
            rooms: next()?,
            rate: next()?,
        })
    }
}

/// Serves on this port until standard input ends; says `done` behind each order.
pub fn run(port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let rooms = Rooms::default();
    let seats = Arc::clone(&rooms);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who goes away meanwhile does not matter to those who stay.
            let _ = seat(stream, &seats);
        }
    });
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let orders = Orders::parse(&line?).ok_or("orders are four numbers")?;
        push(orders, &rooms);
        println!("done");
    }
    Ok(())
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

fn push(orders: Orders, rooms: &Rooms) {
    let rooms = rooms.lock();
    let began = Instant::now();
    for index in 0..orders.count {
        if orders.rate > 0 {
            let due = Duration::from_secs_f64(index as f64 / orders.rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let n = orders.first + index;
        let frame = frame(n);
        let room = usize::try_from(n % orders.rooms).unwrap_or_default();
        for mut stream in rooms.get(room).into_iter().flatten() {
            // What a full socket does not take is lost: whoever stalls is not waited for here either.
            let _ = stream.write(&frame);
        }
    }
}

/// An event with all that Rowcast's has around the payload.
fn frame(n: u64) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"event\",\"id\":\"{n}\",\"name\":\"bench:event\",\"channel\":\"bench.event\",\
         \"data\":{},\"at\":\"2026-11-20T10:30:00.123456Z\",\
         \"bookmark\":\"9b4590cc7e.{n}_0.{n}_0.{n}\"}}",
        payload(n, crowd::now())
    );
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0x81, 126, length[0], length[1]];
    frame.extend_from_slice(text.as_bytes());
    frame
}
