//! Who is measured: the floor, Rowcast over each transport, and what people would pick instead.
//! Hands over a table. It must never hold how something is measured.

use crate::crowd::Protocol;

/// One server, and how a client gets into a room of it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub name: &'static str,
    pub origin: Origin,
    pub protocol: Protocol,
    /// Its path, with `{token}` and `{room}`.
    pub path: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// This program, in its other role.
    Floor,
    Rowcast,
    /// A folder in benches/peers, and the program that runs its file.
    Peer {
        folder: &'static str,
        program: &'static str,
        file: &'static str,
    },
}

const fn rowcast(name: &'static str, protocol: Protocol, path: &'static str) -> Server {
    let origin = Origin::Rowcast;
    Server {
        name,
        origin,
        protocol,
        path,
    }
}

pub const ALL: &[Server] = &[
    Server {
        name: "floor",
        origin: Origin::Floor,
        protocol: Protocol::WebSocket,
        path: "/?room={room}",
    },
    rowcast(
        "rowcast-ws",
        Protocol::WebSocket,
        "/ws?token={token}&rooms={room}",
    ),
    rowcast(
        "rowcast-sse",
        Protocol::Sse,
        "/sse?token={token}&rooms={room}",
    ),
    rowcast(
        "rowcast-socketio",
        Protocol::SocketIo,
        "/socket.io/?EIO=4&transport=websocket&token={token}&room={room}",
    ),
];
