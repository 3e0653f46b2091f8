-- Whether everything that was ever forgotten is visible in a snapshot, so that what the log still
-- holds is all that a reader from there lacks. To be asked after the scan: asked before, a
-- truncation in between goes unnoticed.
-- Either the snapshot's xmin has passed the horizon. Or, while a long transaction holds xmin back,
-- the snapshot that sees all that was forgotten is a subset of it; rowcast.forgotten is a row like
-- any other, and one that a snapshot shows may be old: then its number gives it away.
-- VOLATILE, for that row is to be as new as possible.

create or replace function rowcast.remembers(p_from pg_snapshot) returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_horizon bigint := pg_sequence_last_value('rowcast.horizon'::regclass);
  v_truncation bigint := pg_sequence_last_value('rowcast.truncation'::regclass);
begin
  if v_horizon is null or pg_snapshot_xmin(p_from)::text::bigint >= v_horizon then
    return true;
  end if;
  return exists (
    select from rowcast.forgotten f
    where f.truncation >= v_truncation and rowcast.is_subset(f.seen, p_from)
  );
end
$$;
revoke all on function rowcast.remembers(pg_snapshot) from public;
comment on function rowcast.remembers(pg_snapshot) is
  'Whether all that the log has forgotten is visible in this snapshot; to be asked after a scan.';
