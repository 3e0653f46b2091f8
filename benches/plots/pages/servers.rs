//! Who is compared, in the order of every plot and table, each with its colour everywhere. After
//! Okabe and Ito, so that no pair is alike to the colour-blind; all that is Rowcast is blue.

pub struct Server {
    /// As the file of a run names it.
    pub name: &'static str,
    pub label: &'static str,
    /// On a light page, and on a dark one.
    pub colours: [&'static str; 2],
    pub shape: Shape,
}

/// Of the points of lines, so that colour is never all that tells two apart.
#[derive(Clone, Copy)]
pub enum Shape {
    Circle,
    Square,
    Diamond,
    Triangle,
}

impl Server {
    pub fn is_rowcast(&self) -> bool {
        self.name.starts_with("rowcast")
    }

    /// Whether it does what the kernel demands, and nothing that anybody could use.
    pub fn is_floor(&self) -> bool {
        self.name.starts_with(FLOOR)
    }
}

pub const FLOOR: &str = "floor";

pub const SERVERS: [Server; 10] = [
    server(
        "floor",
        "bare send()",
        ["#868e96", "#7d8590"],
        Shape::Circle,
    ),
    server(
        "floor-listen",
        "bare send() after LISTEN",
        ["#495057", "#adb5bd"],
        Shape::Square,
    ),
    server(
        "rowcast-ws",
        "Rowcast, WebSocket",
        ["#0072b2", "#3d9fe0"],
        Shape::Circle,
    ),
    server(
        "rowcast-sse",
        "Rowcast, SSE",
        ["#56b4e9", "#9ad5f8"],
        Shape::Square,
    ),
    server(
        "rowcast-socketio",
        "Rowcast, Socket.IO",
        ["#004a7c", "#2170ad"],
        Shape::Diamond,
    ),
    server("ws", "ws on Node.js", ["#d55e00", "#f0813a"], Shape::Circle),
    server(
        "nchan",
        "nchan, WebSocket",
        ["#009e73", "#22b88c"],
        Shape::Triangle,
    ),
    server(
        "nchan-sse",
        "nchan, SSE",
        ["#72cbb0", "#97e2cb"],
        Shape::Square,
    ),
    server(
        "socketio",
        "Socket.IO",
        ["#e69f00", "#f5bd3d"],
        Shape::Diamond,
    ),
    server(
        "socketio-redis",
        "Socket.IO + Redis",
        ["#cc79a7", "#dd98bf"],
        Shape::Triangle,
    ),
];

/// Who is compared with Rowcast: the floors, and what users would pick instead.
pub fn others() -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(|server| !server.is_rowcast())
}

/// The ways of Rowcast.
pub fn rowcasts() -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(|server| server.is_rowcast())
}

const fn server(
    name: &'static str,
    label: &'static str,
    colours: [&'static str; 2],
    shape: Shape,
) -> Server {
    Server {
        name,
        label,
        colours,
        shape,
    }
}
