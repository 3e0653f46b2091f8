-- Ends the current history: every bookmark given out so far will be answered with a gap.
-- To be called by hand after a cold copy of the database's files was started as a second server.

create or replace function rowcast.new_history() returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_nonce text := gen_random_uuid()::text || '/'
    || (select system_identifier::text from pg_control_system());
begin
  -- Nobody forgets meanwhile either (rowcast.rotate_log).
  lock table rowcast.history_mark in exclusive mode;
  delete from rowcast.history_mark;
  delete from rowcast.history_pulse;
  -- Writers may come to note losses when the disk is full: eight pages, which are not given back
  -- (V25).
  if pg_relation_size('rowcast.history_break') = 0 then
    begin
      insert into rowcast.history_break select clock_timestamp() from generate_series(1, 1600);
    exception
      -- It is full already. The history begins all the same.
      when disk_full then null;
    end;
  end if;
  -- Those whose writes are visible here: all bookmarks of the new history lie behind them.
  delete from rowcast.history_break;
  -- Rows whose transaction this server has not reached yet, or of which it is another one that is
  -- still open, came with a restore: they would surface later as if they were new. What those open
  -- transactions wrote themselves is not visible here.
  delete from rowcast.event where xid >= pg_snapshot_xmin(pg_current_snapshot())
    and not pg_visible_in_snapshot(xid, pg_current_snapshot())
    and xid <> pg_current_xact_id();
  -- The same with the horizon: one above all transactions of this server would be a gap for ever.
  -- Whoever gets a bookmark of the new history has nothing to do with what was forgotten before.
  perform rowcast.set_horizon(
    least(
      pg_sequence_last_value('rowcast.horizon'::regclass),
      pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    ),
    pg_current_snapshot()
  )
  where pg_sequence_last_value('rowcast.horizon'::regclass) is not null;
  insert into rowcast.history_mark
  select v_nonce, oid, 'rowcast.event'::regclass::oid
  from pg_database where datname = current_database();
  insert into rowcast.history_pulse values (v_nonce);
end
$$;
revoke all on function rowcast.new_history() from public;
comment on function rowcast.new_history() is 'Makes every earlier bookmark answer with a gap.';
