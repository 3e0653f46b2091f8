//! Who is measured: the floors, Rowcast over each transport, and what people would pick instead.
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
    /// The same, fed as the peers are.
    ListeningFloor,
    Rowcast,
    /// A folder in benches/peers: its server.mjs is run by Node.js.
    Peer {
        folder: &'static str,
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

const fn peer(
    name: &'static str,
    folder: &'static str,
    protocol: Protocol,
    path: &'static str,
) -> Server {
    Server {
        name,
        origin: Origin::Peer { folder },
        protocol,
        path,
    }
}

const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket&token={token}&room={room}";

pub const ALL: &[Server] = &[
    Server {
        name: "floor",
        origin: Origin::Floor,
        protocol: Protocol::WebSocket,
        path: "/?room={room}",
    },
    Server {
        name: "floor-listen",
        origin: Origin::ListeningFloor,
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
    rowcast("rowcast-socketio", Protocol::SocketIo, SOCKET_IO),
    peer("socketio", "socketio", Protocol::SocketIo, SOCKET_IO),
    peer(
        "socketio-redis",
        "socketio-redis",
        Protocol::SocketIo,
        SOCKET_IO,
    ),
    peer(
        "ws",
        "ws",
        Protocol::WebSocket,
        "/?token={token}&room={room}",
    ),
    peer(
        "nchan",
        "nchan",
        Protocol::WebSocket,
        "/ws?token={token}&room={room}",
    ),
    peer(
        "nchan-sse",
        "nchan",
        Protocol::Sse,
        "/sse?token={token}&room={room}",
    ),
];
