-- The current place in this database's history. A page prints it beside the data that it read in
-- the same snapshot: one statement, or a REPEATABLE READ transaction. The browser connects with it
-- and receives exactly what the page lacks.
-- STABLE, or it would take a later snapshot than the page's data. A snapshot leaves out its own
-- transaction: what that goes on to write must not count as seen.
-- Unsafe, as functions are unless they say otherwise, it would keep a page's statement from being
-- run in parallel.

create or replace function rowcast.bookmark() returns text
language sql
stable
parallel restricted
security definer
set search_path = pg_catalog, pg_temp
as $$
  select rowcast.history() || '.' || rowcast.encode_snapshot(
    case
      -- A standby's snapshot does not list what is in progress.
      when pg_is_in_recovery() then format('%s:%s:', pg_snapshot_xmin(s), pg_snapshot_xmin(s))
      else format(
        '%s:%s:%s',
        pg_snapshot_xmin(s),
        pg_snapshot_xmax(s),
        (
          select string_agg(x::text, ',' order by x)
          from (
            select x from pg_snapshot_xip(s) x
            union
            select own where own < pg_snapshot_xmax(s)
          ) r
        )
      )
    end::pg_snapshot
  )
  from (select pg_current_snapshot() as s, pg_current_xact_id_if_assigned() as own) now
$$;
grant execute on function rowcast.bookmark() to public;
comment on function rowcast.bookmark() is
  'The place from which a browser resumes exactly, when printed beside data of the same snapshot.';
