//! A system with somebody in each place where events are heard: SQL in as its application writes it, what
//! each has heard out. Hands that over to the stations, which compare it with what is to come.
//! It must never leave out anything that somebody heard but heartbeats.

use super::{Database, Server, Subscriber, Version, marker, on, serve, unhurried};
use rowcast::config::Settings;
use serde_json::{Value, json};
use tokio_postgres::Client;

pub struct Stage {
    pub database: Database,
    pub server: Server,
    /// The application's connection.
    pub legacy: Client,
    /// By the room they are in, or by their name.
    pub seats: Vec<(&'static str, Subscriber)>,
}

impl Stage {
    /// One of the systems with this in it, served, and nobody there yet.
    pub async fn open(
        version: Version,
        system: &'static str,
        sample: &[&str],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let database = on(version).await.system(system).await;
        let legacy = database.legacy().await;
        for sql in sample {
            legacy.batch_execute(sql).await.expect("sample data");
        }
        let server = serve(&database, |settings| {
            unhurried(settings);
            change(settings);
        })
        .await;
        Self {
            database,
            server,
            legacy,
            seats: Vec::new(),
        }
    }

    /// Runs SQL as the application.
    pub async fn writes(&self, sql: &str) {
        let done = self.legacy.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// What each has heard in the room it is named by since this was last asked.
    pub async fn heard(&mut self) -> Vec<(&'static str, Vec<Value>)> {
        let rooms: Vec<&str> = self.seats.iter().map(|(room, _)| *room).collect();
        self.heard_in(&rooms).await
    }

    /// The same, where they are not named by rooms: all are in one of these.
    pub async fn heard_in(&mut self, rooms: &[&str]) -> Vec<(&'static str, Vec<Value>)> {
        marker(&self.database, rooms).await;
        let mut all = Vec::new();
        for (place, somebody) in &mut self.seats {
            all.push((*place, somebody.frames_until("marker").await));
        }
        all
    }

    pub async fn close(self) {
        drop(self.seats);
        self.server.stop().await;
    }
}

/// Unsubscribes from all rooms but this one, wherever the token has put them.
pub async fn stay_in(somebody: &mut Subscriber, room: &str) {
    let welcome = somebody.expect("welcome").await;
    let rooms = welcome["rooms"].as_array().expect("rooms");
    assert!(rooms.contains(&room.into()), "{welcome}");
    let others: Vec<_> = rooms.iter().filter(|other| **other != room).collect();
    if !others.is_empty() {
        somebody
            .send(json!({ "type": "unsubscribe", "rooms": others }))
            .await;
        somebody.expect("unsubscribed").await;
    }
}

/// The constraint by which a statement fails, or else what the application is told.
pub async fn refused(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().expect("an answer of the database");
    error.constraint().unwrap_or(error.message()).to_owned()
}

/// These frames are exactly these events, by name, channel and data, with all that an event has.
pub fn assert_whole(place: &str, sql: &str, heard: &[Value], wanted: &[(&str, &str, &Value)]) {
    assert_eq!(heard.len(), wanted.len(), "{place} heard {heard:#?}\n{sql}");
    for (event, (name, channel, data)) in heard.iter().zip(wanted) {
        let frame = json!({
            "type": "event", "name": name, "channel": channel, "data": data,
            "id": event["id"], "at": event["at"], "bookmark": event["bookmark"],
        });
        assert_eq!(*event, frame, "at {place}\n{sql}");
        let id = event["id"].as_str().expect("an id");
        let bookmark = event["bookmark"].as_str().expect("a bookmark");
        assert!(id.parse::<u64>().is_ok(), "{id}");
        assert!(
            bookmark.ends_with(&format!(".{id}")),
            "{bookmark} of event {id}"
        );
    }
}
