-- What the log takes, cheaply: sizes of files and counters, no scan.

create or replace function rowcast.log_size(
  out bytes bigint,
  out events bigint,
  out oldest_at timestamptz,
  out refused_at timestamptz
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select sum(pg_total_relation_size(t.leaf)), sum(pg_stat_get_live_tuples(t.leaf)),
    min(l.entered_at) filter (where pg_relation_size(t.leaf) > 0), min(l.refused_at)
  from rowcast.leaf l
  cross join lateral (select format('rowcast.event_%s', l.leaf)::regclass as leaf) t
$$;
revoke all on function rowcast.log_size() from public;
grant execute on function rowcast.log_size() to rowcast_service;
comment on function rowcast.log_size() is
  'Bytes with indexes; about how many events; since when the oldest leaf was written; and since '
  'when a lock keeps a leaf from being emptied.';
