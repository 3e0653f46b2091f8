-- The reverse of rowcast.encode_snapshot.

create or replace function rowcast.decode_snapshot(p_text text) returns pg_snapshot
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    '%s:%s:%s',
    parts[1],
    parts[1] + parts[2],
    (
      select string_agg(running::text, ',' order by place)
      from (
        select place, parts[1] + sum(gap) over (order by place) as running
        from unnest(parts[3:]) with ordinality as g (gap, place)
      ) r
    )
  )::pg_snapshot
  from (select string_to_array(p_text, '_')::bigint[] as parts) p
$$;
-- The service had it once.
revoke all on function rowcast.decode_snapshot(text) from public, rowcast_service;
comment on function rowcast.decode_snapshot(text) is
  'The snapshot that a part of a bookmark spells.';
