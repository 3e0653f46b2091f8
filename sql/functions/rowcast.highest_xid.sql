-- The highest transaction of any event that was ever in the log, as far as is known, or null.
-- Bookmarks are clamped to it: they stand still while nothing happens. Of an empty log the horizon
-- knows.

create or replace function rowcast.highest_xid() returns xid8
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select greatest(
    (select xid from rowcast.event order by xid desc limit 1),
    (pg_sequence_last_value('rowcast.horizon'::regclass) - 1)::text::xid8
  )
$$;
revoke all on function rowcast.highest_xid() from public;
grant execute on function rowcast.highest_xid() to rowcast_service;
comment on function rowcast.highest_xid() is 'Highest xid that the log has or had, or null.';
