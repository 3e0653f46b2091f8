//! The five systems of the demo: what each is made of, and how one is opened in a database of its
//! own. Hands over services, and connections of the old applications.
//! It must never touch a database that the demo did not make.

use super::application::Application;
use crate::app::Service;
use crate::command::Failure;
use crate::command::postgres::{Cluster, SUPERUSER};
use crate::command::triggers::files::rank;
use crate::config::Settings;
use crate::connection::Gate;
use crate::database;
use include_dir::{Dir, include_dir};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// How long a service may take until events get through.
const PATIENCE: Duration = Duration::from_secs(20);

/// A system: its database, its base path, its dialect and what it is shown with carry its name.
pub struct System {
    /// Such as `lab`; the old application's role is `lab_app`.
    pub name: &'static str,
    pub title: &'static str,
    /// How its front end speaks and signs in.
    pub speaks: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// What to look at, in a sentence.
    pub look: &'static str,
    triggers: Dir<'static>,
    /// Sample data, statements and a writer: see the head of demo.sql.
    sample: &'static str,
    /// Its page: views.html, story.js, story.css and what these need.
    pub page: Dir<'static>,
}

pub static SYSTEMS: &[System] = &[
    System {
        name: "lab",
        title: "Laboratories",
        speaks: "JavaScript client, JWT",
        about: "Laboratories lend slots of the week, and whoever comes too late stands in line.",
        look: "One statement reaches a user and an admin, each with what they may see; the line moves up.",
        triggers: include_dir!("$CARGO_MANIFEST_DIR/triggers/lab"),
        sample: include_str!("lab.sql"),
        page: include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/lab"),
    },
    System {
        name: "clinic",
        title: "Clinic",
        speaks: "socket.io-client, session cookie",
        about: "Patients wait in one line, and each follows their own place in it on the phone.",
        look: "Call the next patient: everybody behind moves up, and whoever is two places away is told once.",
        triggers: include_dir!("$CARGO_MANIFEST_DIR/triggers/clinic"),
        sample: include_str!("clinic.sql"),
        page: include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/clinic"),
    },
    System {
        name: "tickets",
        title: "Tickets",
        speaks: "plain WebSocket and JavaScript client, JWT",
        about: "People book seats of an event while others look at it.",
        look: "Seats left on two people’s pages: exact under any crowd, and never below zero.",
        triggers: include_dir!("$CARGO_MANIFEST_DIR/triggers/tickets"),
        sample: include_str!("tickets.sql"),
        page: include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/tickets"),
    },
    System {
        name: "spa",
        title: "Spa",
        speaks: "JavaScript client, session cookie",
        about: "Customers pay first, then book a therapist’s time.",
        look: "One booking, three roles: a customer, a therapist and a manager each see another part of it.",
        triggers: include_dir!("$CARGO_MANIFEST_DIR/triggers/spa"),
        sample: include_str!("spa.sql"),
        page: include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/spa"),
    },
    System {
        name: "boardroom",
        title: "Boardrooms",
        speaks: "socket.io-client, session cookie",
        about: "A company books its boardrooms, and a sign hangs at each door.",
        look: "Move a meeting: the calendar follows, and so do the door it left and the one it came to.",
        triggers: include_dir!("$CARGO_MANIFEST_DIR/triggers/boardroom"),
        sample: include_str!("boardroom.sql"),
        page: include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/boardroom"),
    },
];

/// What the pages of a system that runs stand on.
#[derive(Clone)]
pub struct Stage {
    pub system: &'static System,
    pub gate: Arc<Gate>,
    /// The old application: it knows nothing of Rowcast.
    pub legacy: Application,
    /// The name of its session cookie; without one its views sign in by JWT.
    pub cookie: Option<Arc<str>>,
}

impl System {
    /// Makes its database, and opens a service on it.
    pub async fn open(
        &'static self,
        cluster: &Cluster,
        settings: &Settings,
    ) -> Result<(Stage, Service), Failure> {
        let cookie = self.make(cluster, settings).await?;
        let service = self.serve(cluster, settings).await?;
        let stage = Stage {
            system: self,
            gate: Arc::clone(&service.gate),
            legacy: Application::new(&cluster.url(self.name, &self.role()))?,
            cookie: cookie.map(Into::into),
        };
        Ok((stage, service))
    }

    /// The old application's.
    fn role(&self) -> String {
        format!("{}_app", self.name)
    }

    /// A copy of the migrated template1, with the system's tables, triggers and sample data; the name of
    /// its session cookie, if it has one.
    async fn make(
        &self,
        cluster: &Cluster,
        settings: &Settings,
    ) -> Result<Option<String>, Failure> {
        let (name, timeout) = (self.name, settings.database.connect_timeout);
        let postgres = cluster.url("postgres", SUPERUSER);
        let maintenance = database::connect_and_drive(&postgres, timeout).await?;
        maintenance
            .batch_execute(&format!("create database {name} template template1"))
            .await?;
        let owner = database::connect_and_drive(&cluster.url(name, SUPERUSER), timeout).await?;
        // Applications' files are written for an application's path.
        owner.batch_execute("reset search_path").await?;
        self.apply(&owner).await?;
        let made = async {
            owner.batch_execute(self.sample).await?;
            let role = self.role();
            let rights = format!(
                "revoke all on all functions in schema demo from public; \
                 grant execute on all functions in schema demo to {role}; alter role {role} login"
            );
            owner.batch_execute(&rights).await?;
            let cookie = "select min(cookie) from rowcast.session_rule";
            owner.query_one(cookie, &[]).await?.try_get(0)
        };
        let place = format!("src/command/demo/{name}.sql");
        made.await.map_err(|error| in_words(&place, &error).into())
    }

    /// A service on its database, once events get through.
    async fn serve(&self, cluster: &Cluster, settings: &Settings) -> Result<Service, Failure> {
        let name = self.name;
        let mut settings = settings.clone();
        settings.database.url = Some(cluster.url(name, "rowcast_service"));
        settings.database.listen_url = None;
        settings.http.base_path = format!("/{name}");
        settings.http.dialects = vec![name.to_owned()];
        let service = Service::open(settings)?;
        let trouble = || {
            service
                .gate
                .pulse
                .check(&service.gate.settings.listener)
                .err()
        };
        let ready = async {
            while trouble().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            let why = trouble().unwrap_or_default();
            return Err(format!("{name}: the service did not become ready: {why}").into());
        }
        Ok(service)
    }

    /// As `rowcast triggers apply` orders them; nobody writes yet who could be made to wait.
    async fn apply(&self, owner: &Client) -> Result<(), Failure> {
        let mut files: Vec<_> = self
            .triggers
            .files()
            .filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)))
            .filter(|(name, _)| name.ends_with(".sql"))
            .collect();
        files.sort_unstable_by_key(|(name, _)| (rank(name), *name));
        for (file, text) in files {
            let place = format!("triggers/{}/{file}", self.name);
            let done = owner.batch_execute(text).await;
            done.map_err(|error| in_words(&place, &error))?;
        }
        Ok(())
    }
}

fn in_words(place: &str, error: &tokio_postgres::Error) -> String {
    format!("{place}: {}", database::describe(error))
}
