-- For the tables that sessions and roles are read from: a constraint trigger, initially deferred,
-- that calls this has every connection asked for again (rowcast.recheck) when the change commits,
-- once a transaction, so that nobody waits for a long one. The application's write goes before: who
-- can't count it, as under REPEATABLE READ where another was quicker, or where one that has said
-- `set constraints all immediate` has counted and goes on, leaves it to whoever tends the log,
-- within a second of the other's end; any other error is a warning and a row in rowcast.failure,
-- and the connection ends when its session would.

create or replace function rowcast.recheck_at_commit() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- A commit takes milliseconds. Below deadlock_timeout's default, so that nobody is shot.
set lock_timeout = '200ms'
as $$
declare
  v_transaction text := pg_current_xact_id()::text;
begin
  if current_setting('rowcast.rechecked', true) is distinct from v_transaction then
    perform rowcast.recheck();
    perform set_config('rowcast.rechecked', v_transaction, true);
  end if;
  return null;
exception
  when serialization_failure or deadlock_detected or lock_not_available then
    insert into rowcast.recheck_due default values;
    perform set_config('rowcast.rechecked', v_transaction, true);
    return null;
  when others then
    perform rowcast.warn(format('rowcast: nobody is asked for again: %s (%s)', sqlerrm, sqlstate));
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (
      tg_table_name, tg_table_schema || '.' || tg_table_name, lower(tg_op), sqlstate,
      left(sqlerrm, 2000), 'rowcast.recheck_at_commit'
    );
    return null;
end
$$;
revoke all on function rowcast.recheck_at_commit() from public;
comment on function rowcast.recheck_at_commit() is
  'Trigger function: every connection is admitted anew when what changed here is committed.';
