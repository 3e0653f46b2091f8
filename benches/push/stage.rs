//! The stage: a throwaway PostgreSQL, with a database for Rowcast and one for the others, tokens, and
//! the numbers that events have got so far.
//! Hands over writers. It must never be the database of anybody else.

use crate::Failure;
use crate::peers::{Origin, Server};
use crate::source::Writers;
use rowcast::command::postgres::{Cluster, Mode, Options, SUPERUSER};
use rowcast::{database, migrate};
use std::cell::Cell;
use std::time::Duration;
use tokio_postgres::Client;

/// How long anything here may take that is not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What signs the tokens of all servers.
pub const SECRET: &str = "the secret of the benchmark, of more than 32 bytes";

/// Connections of one user: what limits.connections_per_user allows.
const PER_USER: usize = 100;

pub struct Stage {
    cluster: Cluster,
    tokens: Vec<String>,
    /// The number of the next event: each is used once in a run.
    next: Cell<u64>,
    /// Whether the database counts statements; it does only where that is asked for.
    pub counts_statements: bool,
}

impl Stage {
    pub async fn build(connections: usize) -> Result<Self, Failure> {
        let settings = [
            ("max_connections", "100"),
            ("shared_buffers", "512MB"),
            // Checkpoints and vacuum come when they like, and then for one server only.
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
            ("autovacuum", "off"),
        ];
        let options = Options {
            durable: true,
            tcp: true,
            settings: settings
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            ..Options::default()
        };
        let cluster = Cluster::start(options).await?;
        let exp = rowcast::connection::unix_now() + 7200;
        let mint = |user: usize| {
            let claims = serde_json::json!({ "sub": format!("u{user}"), "exp": exp });
            rowcast::token::mint(SECRET, &claims, jsonwebtoken::Algorithm::HS256)
        };
        let tokens = (0..connections.div_ceil(PER_USER)).map(mint);
        let stage = Self {
            tokens: tokens.collect::<Result<_, _>>()?,
            cluster,
            next: Cell::new(1),
            counts_statements: false,
        };
        stage.fill("rowcast", include_str!("rowcast.sql")).await?;
        stage.fill("others", include_str!("notify.sql")).await?;
        Ok(stage)
    }

    async fn fill(&self, database: &str, sql: &str) -> Result<(), Failure> {
        let create = format!("create database {database}");
        self.client("postgres")
            .await?
            .batch_execute(&create)
            .await?;
        let mut owner = self.client(database).await?;
        if database == "rowcast" {
            migrate::run(&mut owner).await?;
        }
        owner.batch_execute(include_str!("bench.sql")).await?;
        owner.batch_execute(sql).await?;
        Ok(())
    }

    async fn client(&self, database: &str) -> Result<Client, Failure> {
        let url = self.cluster.url(database, SUPERUSER);
        Ok(database::connect_and_drive(&url, PATIENCE).await?)
    }

    /// Has the database count statements, where its packages can; it restarts for that.
    pub async fn count_statements(&mut self, count: bool) -> Result<(), Failure> {
        if count == self.counts_statements {
            return Ok(());
        }
        let client = self.client("rowcast").await?;
        let can = "select from pg_available_extensions where name = 'pg_stat_statements'";
        if client.query_opt(can, &[]).await?.is_none() {
            return Ok(());
        }
        let set = match count {
            true => "alter system set shared_preload_libraries = 'pg_stat_statements'",
            false => "alter system reset shared_preload_libraries",
        };
        client.batch_execute(set).await?;
        drop(client);
        self.cluster.stop(Mode::Fast).await?;
        self.cluster.start_again().await?;
        if count {
            let create = "create extension if not exists pg_stat_statements schema public";
            self.client("rowcast").await?.batch_execute(create).await?;
        }
        self.counts_statements = count;
        Ok(())
    }

    /// PostgreSQL's.
    pub async fn version(&self) -> Result<String, Failure> {
        let client = self.client("postgres").await?;
        Ok(client.query_one("show server_version", &[]).await?.get(0))
    }

    /// Forgets the rows of earlier measurements, while nobody listens.
    pub async fn clear(&self, server: &Server) -> Result<(), Failure> {
        let client = self.client_of(server).await?;
        Ok(client
            .batch_execute("truncate bench.event; checkpoint")
            .await?)
    }

    /// Which database a server listens to.
    fn database_of(server: &Server) -> &'static str {
        match server.origin {
            Origin::Rowcast => "rowcast",
            _ => "others",
        }
    }

    /// A superuser's connection to the database of a server.
    pub async fn client_of(&self, server: &Server) -> Result<Client, Failure> {
        self.client(Self::database_of(server)).await
    }

    /// So many connections that write what a server is to push.
    pub async fn writers(&self, server: &Server, count: usize) -> Result<Writers, Failure> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.client_of(server).await?);
        }
        Writers::prepare(clients).await
    }

    /// The URL that a server is given: peers reach sockets of TCP only.
    pub fn url(&self, server: &Server) -> Result<String, Failure> {
        match server.origin {
            Origin::Rowcast => Ok(self.cluster.url("rowcast", "rowcast_service")),
            _ => {
                let url = self.cluster.tcp_url("others", SUPERUSER, None);
                url.ok_or_else(|| "no database over TCP".into())
            }
        }
    }

    /// The path of each connection.
    pub fn paths(&self, server: &Server, seats: &[u64]) -> Vec<String> {
        let path = |(number, room): (usize, &u64)| {
            let token = &self.tokens[number / PER_USER];
            let room = format!("r{room}");
            server
                .path
                .replace("{token}", token)
                .replace("{room}", &room)
        };
        seats.iter().enumerate().map(path).collect()
    }

    /// Takes the numbers of so many events.
    pub fn number(&self, count: u64) -> u64 {
        self.next.replace(self.next.get() + count)
    }
}
