-- Whether everything that is visible in one snapshot is visible in the other too. Comparing only
-- xmin or xmax would be wrong in both directions. The same arithmetic as in src/bookmark.rs.

create or replace function rowcast.is_subset(p_seen pg_snapshot, p_in pg_snapshot) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select pg_snapshot_xmax(p_seen) <= pg_snapshot_xmax(p_in) and not exists (
    select from pg_snapshot_xip(p_in) x where pg_visible_in_snapshot(x, p_seen)
  )
$$;
revoke all on function rowcast.is_subset(pg_snapshot, pg_snapshot) from public;
comment on function rowcast.is_subset(pg_snapshot, pg_snapshot) is
  'Whether all that p_seen sees is visible in p_in.';
