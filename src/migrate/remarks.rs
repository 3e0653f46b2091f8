//! What whoever migrates or attaches is told besides. Hands words over to the subcommands, or nothing.
//! It must never change anything.

use super::Done;
use tokio_postgres::Client;

/// Why whoever asks should rather be no superuser: the owners of tables that have our triggers can act as
/// rowcast_owner, whose functions we call. From the catalog alone, in which nobody can plant anything.
const TRUSTED: &str = "select string_agg(distinct quote_ident(r.rolname), ', ') \
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_class c on c.oid = t.tgrelid \
    join pg_roles r on r.oid = c.relowner \
    where p.proowner = (select oid from pg_roles where rolname = 'rowcast_owner') \
      and r.rolname <> 'rowcast_owner' and not r.rolsuper and current_setting('is_superuser') = 'on'";

/// Whom a superuser who migrates or attaches trusts with the whole cluster, in words; nothing for others.
///
/// # Errors
/// The connection.
pub async fn trusted(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let owners: Option<String> = client.query_one(TRUSTED, &[]).await?.get(0);
    Ok(owners.map(|owners| {
        format!(
            "warning: this runs as a superuser, and whoever owns an attached table could run code of \
             theirs in it: {owners}. Rather use a role that is none (docs/sql.md, \"Who needs what\")"
        )
    }))
}

/// The owner of this database, if its own dumps fail from now on, in words.
///
/// # Errors
/// The connection.
pub async fn dumps_fail(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let owner = "select quote_ident(pg_get_userbyid(datdba)) from pg_database \
        where datname = current_database() \
          and not has_table_privilege(datdba, 'rowcast.migration_history', 'select')";
    let owner = client.query_opt(owner, &[]).await?;
    Ok(owner.map(|row| {
        let owner: String = row.get(0);
        format!(
            "note: {owner}, who owns this database, may not read schema rowcast, so a pg_dump by that role \
             fails: `grant pg_read_all_data to {owner}`, or dump as a role that has it"
        )
    }))
}

/// What is left to be done behind a migration that replaced what makes triggers, in words.
#[must_use]
pub fn outdated(done: &Done) -> Option<String> {
    let number = done.outdated;
    (number > 0).then(|| {
        format!(
            "note: attached queries that go on with triggers of the version before: {number}. Make them anew by \
             `rowcast triggers apply DIR` for each folder, or in SQL (docs/operations.md, \"Upgrading\")"
        )
    })
}
