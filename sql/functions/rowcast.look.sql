-- What the listener asks again and again: a first row with the state of things, then the events
-- that are visible now and were not in p_from, in order of id. The same question as
-- rowcast.read_log, cut down to what nearly every look needs: state events come as they are
-- written, and a listener that finds some asks again from the same place, with p_render; and with
-- p_equals, if it keeps them for whoever comes back (see rowcast.read_log): of equal ones only the
-- last has data then.
-- Where there is more than p_bytes it is a part, and `more` says so: the next look goes on from its
-- snapshot. Who looked a moment ago passes null, and what a few transactions wrote is not measured:
-- none of them could be cut.
-- The horizon is read when the scan is over: RC007 if some of it was forgotten (see
-- rowcast.read_log, also for the settings).

drop function if exists rowcast.look(pg_snapshot, boolean);
drop function if exists rowcast.look(pg_snapshot, boolean, bigint);

create or replace function rowcast.look(
  p_from pg_snapshot,
  p_render boolean,
  p_bytes bigint,
  p_equals boolean default false
)
returns table (
  snapshot text,
  more boolean,
  history text,
  doorbell text,
  access_version bigint,
  rings boolean,
  queue_usage float8,
  id bigint,
  xid xid8,
  at timestamptz,
  channel text,
  name text,
  rooms text[],
  data json,
  failed boolean,
  render text,
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
declare
  v_now pg_snapshot := pg_current_snapshot();
  v_to pg_snapshot := v_now;
  v_more boolean := false;
begin
  if p_bytes is not null
    and pg_snapshot_xmax(v_now)::text::bigint - pg_snapshot_xmax(p_from)::text::bigint > 100
  then
    v_to := coalesce(rowcast.part_way(p_from, p_bytes), v_now);
    v_more := v_to::text <> v_now::text;
  end if;
  return query
  select
    v_to::text,
    v_more,
    -- As rowcast.history(), without what can't change while a connection lives.
    (
      select min(m.name)
      from rowcast.history_mark m
      having count(*) = 1 and not exists (select from rowcast.history_break)
    ),
    s.doorbell,
    s.access_version,
    pg_sequence_last_value('rowcast.doorbell'::regclass) = 1,
    pg_notification_queue_usage(),
    null::bigint, null::xid8, null::timestamptz, null, null, null::text[], null::json,
    null::boolean, null, null::bigint
  from rowcast.setting s;

  -- There each event is looked at, whether it can be sent.
  if p_render or getdatabaseencoding() <> 'UTF8' then
    return query
    select null, null::boolean, null, null, null::bigint, null::boolean, null::float8,
      l.id, l.xid, l.at, l.channel, l.name, l.rooms,
      case when l.state is null or l.id = max(l.id) over (partition by l.state) then l.data end,
      l.failed, null, l.state
    from rowcast.read_log(p_from, v_to, p_equals => p_equals) l
    order by l.id;
    return;
  end if;

  return query
  select null, null::boolean, null, null, null::bigint, null::boolean, null::float8,
    e.id, e.xid, e.at, e.channel, e.name, e.rooms, e.data, false, e.render,
    null::bigint
  from (
    select * from rowcast.event n
    where n.xid >= pg_snapshot_xmax(p_from) and n.xid < pg_snapshot_xmax(v_to)
    union all
    select * from rowcast.event n where n.xid = any (array(
      select x from pg_snapshot_xip(p_from) x where pg_visible_in_snapshot(x, v_to)
    ))
  ) e
  where pg_visible_in_snapshot(e.xid, v_to)
    and e.channel <> all (array(select c.name from rowcast.channel c where c.paused))
  order by e.id;
  perform rowcast.check_horizon(p_from);
end
$$;
revoke all on function rowcast.look(pg_snapshot, boolean, bigint, boolean) from public;
grant execute on function rowcast.look(pg_snapshot, boolean, bigint, boolean) to rowcast_service;
comment on function rowcast.look(pg_snapshot, boolean, bigint, boolean) is
  'The state of things, and events since a snapshot: all, or about p_bytes; with p_render, '
  'rendered.';
