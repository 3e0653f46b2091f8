//! One instance of the real program, and its door: the address that subscribers know it by.
//! Hands over what it says of itself. It must never take an instance for ready that does not answer.

use crate::support::Process;
use crate::support::proxy::{Proxy, Upstream};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The real program, behind a door that stays where it is when the program is replaced.
pub struct Node {
    pub process: tokio::sync::Mutex<Process>,
    pub door: Proxy,
    address: Mutex<String>,
}

impl Node {
    /// A program, and a new door before it.
    pub async fn behind_a_door(process: Process, seed: u64) -> Self {
        let upstream = Upstream::Tcp(process.address.clone());
        Self {
            door: Proxy::start(upstream, seed).await,
            address: Mutex::new(process.address.clone()),
            process: tokio::sync::Mutex::new(process),
        }
    }

    pub fn lead_to(&self, address: &str) {
        self.door.lead_to(Upstream::Tcp(address.to_owned()));
        address.clone_into(&mut self.address.lock());
    }

    /// What `/readyz` says, asked at the program itself; nothing if it does not answer.
    pub async fn readyz(&self) -> Option<String> {
        let address = self.address.lock().clone();
        let asked = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            let request = b"GET /readyz HTTP/1.1\r\nhost: rowcast\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer)
        };
        tokio::time::timeout(Duration::from_secs(2), asked)
            .await
            .ok()?
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.readyz().await;
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}
