-- Whether everything that lies before one place surely lies before another, too. False for places
-- of different histories, and where snapshots alone can't tell: two nodes that cut the same events
-- into other batches give out places of which neither is behind the other.
-- The same arithmetic as in src/bookmark.rs.

create or replace function rowcast.is_within(p_place text, p_other text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select a.history = b.history and rowcast.is_subset(a.base, b.base) and (
    a.batch is null or rowcast.is_subset(a.batch, b.base)
    or (b.batch is not null and rowcast.is_subset(a.batch, b.batch) and a.id <= b.id)
  )
  from rowcast.parse_bookmark(p_place) a, rowcast.parse_bookmark(p_other) b
$$;
revoke all on function rowcast.is_within(text, text) from public;
comment on function rowcast.is_within(text, text) is
  'Whether all that lies before one bookmark lies before the other.';
