-- Whether a node leads on this database: it holds the session lock of
-- src/database/listening/lead.rs.

create or replace function rowcast.is_led() returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_locks
    where locktype = 'advisory' and classid = 0 and objid = 7692279 and objsubid = 1 and granted
      and database = (select oid from pg_database where datname = current_database())
  )
$$;
revoke all on function rowcast.is_led() from public;
comment on function rowcast.is_led() is
  'Whether a service leads on this database: sets the flag, tends the log.';
