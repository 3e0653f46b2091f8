-- What a reader with this bookmark lacks: one row per event, then one of outcome 'end' that carries
-- the next bookmark. A single row of outcome 'gap' instead, where that cannot be proven complete.

create or replace function rowcast.events_since(
  p_bookmark text,
  p_rooms text[] default null,
  p_limit bigint default 10000
)
returns table (
  outcome text,
  reason text,
  bookmark text,
  id bigint,
  at timestamptz,
  channel text,
  name text,
  rooms text[],
  data json
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_place record := rowcast.parse_bookmark(p_bookmark);
  v_now pg_snapshot := pg_current_snapshot();
  v_history text := rowcast.history();
  v_end text := rowcast.bookmark();
  v_gap text;
begin
  if v_place.history <> v_history or v_history = 'none' then
    v_gap := 'history';
  elsif pg_snapshot_xmax(coalesce(v_place.batch, v_place.base)) > pg_snapshot_xmax(v_now) then
    v_gap := 'future';
  else
    begin
      -- Nothing may be returned before it is known that all of it can be.
      select case
        when count(*) > p_limit then 'limit'
        when bool_or(n.failed or n.told <> 'paused') then 'trigger'
        when bool_or(n.told = 'paused') then 'paused'
      end
      into v_gap
      from (
        select l.failed,
          case l.name when 'rowcast:gap' then coalesce(l.data ->> 'reason', '') end as told
        from rowcast.read_log(v_place.base, v_place.batch, v_place.id, p_rooms, p_limit + 1) l
        where v_place.batch is not null
        union all
        select l.failed, case l.name when 'rowcast:gap' then coalesce(l.data ->> 'reason', '') end
        from rowcast.read_log(
          coalesce(v_place.batch, v_place.base), null, null, p_rooms, p_limit + 1
        ) l
      ) n;
    exception
      when sqlstate 'RC007' then
        v_gap := 'horizon';
    end;
  end if;
  if v_gap is not null then
    return query select 'gap', v_gap, v_end, null::bigint, null::timestamptz,
      null, null, null::text[], null::json;
    return;
  end if;

  return query
  with lacking as (
    select 1 as part, v_place.base as s0, v_place.batch as s1, l.*
    from rowcast.read_log(v_place.base, v_place.batch, v_place.id, p_rooms) l
    where v_place.batch is not null
    union all
    select 2, coalesce(v_place.batch, v_place.base), v_now, l.*
    from rowcast.read_log(coalesce(v_place.batch, v_place.base), null, null, p_rooms) l
  )
  select 'event', null::text,
    concat_ws('.', v_history, rowcast.encode_snapshot(s0), rowcast.encode_snapshot(s1), id::text),
    id, at, channel, name, rooms, data
  from lacking
  order by part, id;

  return query select 'end', null::text, v_end, null::bigint, null::timestamptz,
    null::text, null::text, null::text[], null::json;
end
$$;
revoke all on function rowcast.events_since(text, text[], bigint) from public;
grant execute on function rowcast.events_since(text, text[], bigint) to rowcast_service;
comment on function rowcast.events_since(text, text[], bigint) is
  'The events a reader with this bookmark lacks in these rooms (null: all), or a gap.';
