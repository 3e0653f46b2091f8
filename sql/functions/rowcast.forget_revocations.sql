-- Removes revocations that are older than any token can be: there is one row for each user ever
-- revoked, and nothing else bounds them. With an age below the longest life of a token, or for
-- tokens and sessions without iat, it lets revoked ones in again.

create or replace function rowcast.forget_revocations(p_older_than interval) returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with gone as (
    delete from rowcast.revocation where at < clock_timestamp() - p_older_than returning sub
  )
  select count(*) from gone
$$;
revoke all on function rowcast.forget_revocations(interval) from public;
comment on function rowcast.forget_revocations(interval) is
  'Removes revocations older than this, which has to be the longest life of a token; how many.';
