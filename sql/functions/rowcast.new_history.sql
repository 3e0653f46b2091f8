-- Ends the current history: every bookmark given out so far will be answered with a gap.
-- To be called by hand after a cold copy of the database's files was started as a second server.

create or replace function rowcast.new_history() returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_nonce text := gen_random_uuid()::text;
begin
  lock table rowcast.history_mark in exclusive mode;
  delete from rowcast.history_mark;
  delete from rowcast.history_pulse;
  -- Those whose writes are visible here: all bookmarks of the new history lie behind them.
  delete from rowcast.history_break;
  -- Rows whose transaction this server has not reached yet came with a restore: they would
  -- surface later as if they were new.
  delete from rowcast.event where xid >= pg_snapshot_xmax(pg_current_snapshot())
    and xid <> pg_current_xact_id();
  insert into rowcast.history_mark
  select v_nonce, oid, 'rowcast.event'::regclass::oid
  from pg_database where datname = current_database();
  insert into rowcast.history_pulse values (v_nonce);
end
$$;
revoke all on function rowcast.new_history() from public;
comment on function rowcast.new_history() is 'Makes every earlier bookmark answer with a gap.';
