-- The place part of the way from p_from to now that about p_bytes of events lead to, and no less
-- than one transaction; null where that is all there is. For a listener that was away: what it
-- takes in at a time has a bound, and what it has read once it need not read again.
-- Nobody took this snapshot, but somebody could have: transactions are in it in the order of their
-- last ids. Of two that wrote the same row the later drew its id when the earlier had committed, so
-- its last is higher, and the order in a row is kept across the cut.
-- Sizes are as stored: what is compressed counts less, and nothing has to be fetched for it.
-- For rowcast.look, whose settings hold here too.

create or replace function rowcast.part_way(p_from pg_snapshot, p_bytes bigint) returns pg_snapshot
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with found as (
      select e.xid, e.id, e.data from rowcast.event e where e.xid >= pg_snapshot_xmax(p_from)
      union all
      select e.xid, e.id, e.data from rowcast.event e
      where e.xid = any (array(
        select x from pg_snapshot_xip(p_from) x
        where pg_visible_in_snapshot(x, pg_current_snapshot())
      ))
    ),
    ended as (
      select
        f.xid::text::bigint as xid,
        max(f.id) as last,
        sum(pg_column_size(f.data) + 200) as bytes
      from found f
      group by f.xid
    ),
    counted as (
      select e.xid, sum(e.bytes) over (order by e.last) - e.bytes < p_bytes as near
      from ended e
    ),
    here as (
      select greatest(max(c.xid) + 1, pg_snapshot_xmax(p_from)::text::bigint) as xmax
      from counted c
      where c.near
    ),
    running as (
      select c.xid from counted c where not c.near
      union all
      select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x
    )
    select format(
      '%s:%s:%s',
      coalesce(min(r.xid), h.xmax),
      h.xmax,
      string_agg(r.xid::text, ',' order by r.xid)
    )::pg_snapshot
    from here h
    left join running r on r.xid < h.xmax
    where exists (select from counted c where not c.near)
    group by h.xmax
  );
end
$$;
revoke all on function rowcast.part_way(pg_snapshot, bigint) from public;
comment on function rowcast.part_way(pg_snapshot, bigint) is
  'A place on the way from a snapshot to now that so many bytes of events lead to; null: it is '
  'now.';
