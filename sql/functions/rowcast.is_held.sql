-- Whether another transaction has a lock on a leaf, or waits for one.

create or replace function rowcast.is_held(p_leaf integer) returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_locks
    where locktype = 'relation' and relation = format('rowcast.event_%s', p_leaf)::regclass
      and database = (select oid from pg_database where datname = current_database())
      and pid is distinct from pg_backend_pid()
  )
$$;
revoke all on function rowcast.is_held(integer) from public;
comment on function rowcast.is_held(integer) is
  'Whether somebody else has a lock on a leaf of the log, or waits for one; a prepared transaction '
  'too.';
