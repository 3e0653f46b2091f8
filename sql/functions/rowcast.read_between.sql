-- Every event visible in p_to and not in p_from, for a service to keep for all who come back from
-- places between the two. Of equal state events each is returned, for such a place may have seen the
-- last and lack one before it; they share `state`, so that nobody need be sent more than one of them.
-- As rowcast.read_log in everything else, where the reasons stand: what is found, what a limit cuts,
-- the settings, and RC007 if some of it was forgotten.

create or replace function rowcast.read_between(
  p_from pg_snapshot,
  p_to pg_snapshot,
  p_limit bigint
)
returns table (
  id bigint,
  xid xid8,
  at timestamptz,
  channel text,
  name text,
  rooms text[],
  data json,
  failed boolean,
  state bigint
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
  with found as (
    select e.* from rowcast.event e
    where e.xid >= pg_snapshot_xmax(p_from) and e.xid < pg_snapshot_xmax(p_to)
    union all
    select e.* from rowcast.event e
    where e.xid = any (array(
      select x from pg_snapshot_xip(p_from) x where pg_visible_in_snapshot(x, p_to)
    ))
  ),
  wanted as (
    select f.* from found f
    where pg_visible_in_snapshot(f.xid, p_to)
      and not exists (select from rowcast.channel c where c.name = f.channel and c.paused)
    order by f.id
    limit p_limit
  ),
  cut as (
    select count(*) >= p_limit as off from wanted
  ),
  stated as (
    select s.*, s.data::jsonb as key, min(s.id) over (
      partition by s.render, s.data::text, s.channel, s.name, s.rooms
    ) as state
    from wanted s
    where s.render is not null
  ),
  asked as (
    select render, array_agg(distinct key) as keys from stated group by render
  ),
  rendered as materialized (
    select a.render, r.key, r.data, r.failed
    from asked a cross join lateral rowcast.render(a.render, a.keys) r
  )
  select w.id, w.xid, w.at, w.channel, w.name, w.rooms, w.data, false, null::bigint
  from wanted w
  where w.render is null
  union all
  select s.id, s.xid, s.at, s.channel, s.name, s.rooms, r.data, coalesce(r.failed, false), s.state
  from stated s
  full join rendered r on r.render = s.render and r.key = s.key
  where coalesce(s.id, 0) <> 0 and (r.key is not null or (select off from cut))
  order by 1;

  perform rowcast.check_horizon(p_from);
end
$$;
revoke all on function rowcast.read_between(pg_snapshot, pg_snapshot, bigint) from public;
grant execute on function rowcast.read_between(pg_snapshot, pg_snapshot, bigint) to rowcast_service;
comment on function rowcast.read_between(pg_snapshot, pg_snapshot, bigint) is
  'All events between two snapshots, equal state events too; SQLSTATE RC007 if some were forgotten.';
