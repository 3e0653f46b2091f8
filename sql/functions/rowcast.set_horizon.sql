-- Says that everything below p_horizon may be forgotten, and that p_seen sees all of it. The row
-- first: where it fails, little has been said. Its caller holds the lock of rotate_log.
-- setval, for what nextval leaves behind on a standby and after a crash runs ahead.

create or replace function rowcast.set_horizon(p_horizon bigint, p_seen pg_snapshot) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before bigint := pg_sequence_last_value('rowcast.truncation'::regclass);
begin
  -- Not above the horizon, or no bookmark would reach it while nothing happens; and up to it, or a
  -- transaction that forgets events of its own would leave these out.
  update rowcast.forgotten
  set truncation = setval('rowcast.truncation', coalesce(v_before, 0) + 1), seen = format(
    '%s:%s:%s',
    least(pg_snapshot_xmin(p_seen)::text::bigint, p_horizon),
    p_horizon,
    (
      select string_agg(x::text, ',' order by x)
      from pg_snapshot_xip(p_seen) x where x::text::bigint < p_horizon
    )
  )::pg_snapshot;
  perform setval('rowcast.horizon', p_horizon);
end
$$;
revoke all on function rowcast.set_horizon(bigint, pg_snapshot) from public;
comment on function rowcast.set_horizon(bigint, pg_snapshot) is
  'Writes the horizon, and the snapshot that sees all that lies behind it.';
