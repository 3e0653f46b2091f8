-- A snapshot as it stands in a bookmark: xmin, then xmax as a distance from it, then every
-- transaction in progress as a distance from the one before, joined by _ : 741_12_0_3.
-- Kept under 1000 bytes by forgetting the youngest in progress, which repeats events, never loses.

create or replace function rowcast.encode_snapshot(p_snapshot pg_snapshot) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  with running as (
    select x::text::bigint as x,
      coalesce(lag(x::text::bigint) over w, pg_snapshot_xmin(p_snapshot)::text::bigint) as before,
      row_number() over w as place
    from pg_snapshot_xip(p_snapshot) x
    window w as (order by x)
  ),
  measured as (
    -- 39 bytes stand aside for xmin and the distance of xmax.
    select *, sum(length((x - before)::text) + 1) over (order by place) <= 960 as fits
    from running
  )
  select concat_ws(
    '_',
    pg_snapshot_xmin(p_snapshot)::text,
    coalesce(
      (select min(x) from measured where not fits),
      pg_snapshot_xmax(p_snapshot)::text::bigint
    ) - pg_snapshot_xmin(p_snapshot)::text::bigint,
    (select string_agg((x - before)::text, '_' order by place) from measured where fits)
  )
$$;
-- The service had it once.
revoke all on function rowcast.encode_snapshot(pg_snapshot) from public, rowcast_service;
comment on function rowcast.encode_snapshot(pg_snapshot) is 'A snapshot as bookmarks spell it.';
