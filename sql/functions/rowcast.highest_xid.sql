-- The highest transaction of any event in the log, or null. Bookmarks are clamped to it: they stand
-- still while nothing happens.

create or replace function rowcast.highest_xid() returns xid8
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select xid from rowcast.event order by xid desc limit 1
$$;
revoke all on function rowcast.highest_xid() from public;
grant execute on function rowcast.highest_xid() to rowcast_service;
comment on function rowcast.highest_xid() is 'Highest xid in the log, or null.';
