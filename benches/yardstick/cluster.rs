//! A throwaway PostgreSQL that writes to the disk as one of a customer's would, its databases, and
//! tokens for those who connect. Hands over to the stage of a bench.
//! It must never relax what makes a commit durable.

use crate::Failure;
use rowcast::command::postgres::{Cluster, Options, SUPERUSER};
use rowcast::database;
use serde_json::json;
use std::time::Duration;
use tokio_postgres::Client;

/// How long anything here may take that is not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What signs the tokens of all servers.
pub const SECRET: &str = "the secret of the benchmark, of more than 32 bytes";

/// How long a token lives, in seconds: longer than any run, of all scenarios at `--seconds 600` too.
const LIFE: u64 = 2 * 86_400;

/// `tcp`: it can be reached by TCP, too.
pub async fn start(tcp: bool) -> Result<Cluster, Failure> {
    let settings = [
        ("max_connections", "100"),
        ("shared_buffers", "512MB"),
        // Checkpoints and vacuum come when they like, and then in one measurement only.
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "1h"),
        ("autovacuum", "off"),
    ];
    let options = Options {
        durable: true,
        tcp,
        settings: settings
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..Options::default()
    };
    Ok(Cluster::start(options).await?)
}

/// A superuser's connection.
pub async fn connect(cluster: &Cluster, database: &str) -> Result<Client, Failure> {
    let url = cluster.url(database, SUPERUSER);
    let client = database::connect_and_drive(&url, PATIENCE).await?;
    // As an application's.
    client.batch_execute("reset search_path").await?;
    Ok(client)
}

/// A new database, and a superuser's connection to it.
pub async fn create(cluster: &Cluster, database: &str) -> Result<Client, Failure> {
    let create = format!("create database {database}");
    let maintenance = connect(cluster, "postgres").await?;
    maintenance.batch_execute(&create).await?;
    connect(cluster, database).await
}

/// PostgreSQL's version.
pub async fn version(cluster: &Cluster) -> Result<String, Failure> {
    let client = connect(cluster, "postgres").await?;
    Ok(client
        .query_one("show server_version", &[])
        .await?
        .try_get(0)?)
}

/// A token for this user.
pub fn token(user: &str) -> Result<String, Failure> {
    let claims = json!({ "sub": user, "exp": rowcast::clock::unix_now() + LIFE });
    let algorithm = jsonwebtoken::Algorithm::HS256;
    Ok(rowcast::token::mint(SECRET, &claims, algorithm)?)
}
