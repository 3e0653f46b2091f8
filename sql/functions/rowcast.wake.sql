-- What a write of events has to do besides, which is mostly nothing: wake the listener if it
-- sleeps, and see to the bounds of the log. Writers ask the flags before they call this: behind the
-- statement that wrote to the log, for then their transaction has an xid, and only so may the flag
-- be read.
-- It rings only where a listener sleeps, because NOTIFY makes committing writers wait for each
-- other, and never into a queue that fills up, because a full one makes COMMIT fail. What it says
-- is the transaction: who hears it while all ring need not look what else there may be.

create or replace function rowcast.wake() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_sequence_last_value('rowcast.doorbell'::regclass) = 1 then
    perform rowcast.tell_listeners(pg_current_xact_id()::text);
  end if;
  -- One in thousands looks whether anybody keeps the log within its bounds.
  if pg_sequence_last_value('rowcast.event_id_seq'::regclass)
      >= pg_sequence_last_value('rowcast.bound'::regclass) then
    perform rowcast.bound_log();
  end if;
end
$$;
revoke all on function rowcast.wake() from public;
comment on function rowcast.wake() is
  'Wakes the listener if it sleeps; has the log bounded where nobody else does.';
