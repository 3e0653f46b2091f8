-- Raises RC007 if some of what came after a snapshot was forgotten: to be asked when a scan is over
-- (rowcast.remembers says why).

create or replace function rowcast.check_horizon(p_from pg_snapshot) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not rowcast.remembers(p_from) then
    raise exception using errcode = 'RC007',
      message = 'the log has forgotten some of what came after this place',
      hint = 'Read the data anew, and go on from rowcast.bookmark().';
  end if;
end
$$;
revoke all on function rowcast.check_horizon(pg_snapshot) from public;
comment on function rowcast.check_horizon(pg_snapshot) is
  'Raises RC007 if the log has forgotten some of what came after a snapshot.';
