-- Forgets readers that were not heard of for reader_keep. Called about once a minute by whoever
-- looks after the log (rowcast.tend_log). It reads the whole table: an index on the time would cost
-- every acknowledgement more.

create or replace function rowcast.forget_readers() returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with old as (
    select r.sub, r.name
    from rowcast.reader r, rowcast.setting s
    where r.at < clock_timestamp() - s.reader_keep
    for update of r skip locked
  ),
  gone as (
    delete from rowcast.reader r using old where r.sub = old.sub and r.name = old.name returning 1
  )
  select count(*) from gone
$$;
revoke all on function rowcast.forget_readers() from public;
comment on function rowcast.forget_readers() is
  'Forgets durable readers that were not heard of for reader_keep; how many.';
