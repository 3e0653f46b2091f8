-- Removes revocations that are older than any token can be: there is one row for each user ever
-- revoked, and nothing else bounds them. With an age below the longest life of a token, or for
-- tokens and sessions without iat, it lets revoked ones in again. A negative one is refused: it
-- would remove those that were made this moment.

create or replace function rowcast.forget_revocations(p_older_than interval) returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gone bigint;
begin
  if p_older_than < '0' then
    raise exception using errcode = 'RC003',
      message = format('%s is no age', p_older_than),
      hint = 'Give the longest life of a token, such as ''30 days''.';
  end if;
  delete from rowcast.revocation where at < clock_timestamp() - p_older_than;
  get diagnostics v_gone = row_count;
  return v_gone;
end
$$;
revoke all on function rowcast.forget_revocations(interval) from public;
comment on function rowcast.forget_revocations(interval) is
  'Removes revocations older than this, which has to be the longest life of a token; how many. '
  'SQLSTATE RC003 for a negative age.';
