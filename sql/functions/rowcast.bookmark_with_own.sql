-- The place that belongs to what a writing transaction answers: its snapshot, and what it has
-- written itself. Whoever goes on from there is not told again of what the answer holds already.
-- What began between the snapshot and the transaction's own id is not in the answer. A snapshot
-- does not list its own transaction.

create or replace function rowcast.bookmark_with_own() returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select rowcast.history() || '.' || rowcast.encode_snapshot(
    format(
      '%s:%s:%s',
      pg_snapshot_xmin(s),
      greatest(pg_snapshot_xmax(s)::text::bigint, own + 1),
      (
        select string_agg(x::text, ',' order by x)
        from (
          select x::text::bigint from pg_snapshot_xip(s) x
          union
          select generate_series(pg_snapshot_xmax(s)::text::bigint, own - 1)
        ) r (x)
      )
    )::pg_snapshot
  )
  from (
    select pg_current_snapshot() as s, pg_current_xact_id_if_assigned()::text::bigint as own
  ) now
$$;
revoke all on function rowcast.bookmark_with_own() from public;
comment on function rowcast.bookmark_with_own() is
  'The place after this transaction: its snapshot and its own changes, and nothing else.';
