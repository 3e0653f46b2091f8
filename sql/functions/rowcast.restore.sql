-- Takes a revocation back: the user's tokens count again until they expire. No node has to hear of
-- it, for whoever was sent away has to come back anyway. False if nothing stood against them.

create or replace function rowcast.restore(p_user text) returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with gone as (delete from rowcast.revocation where sub = p_user returning sub)
  select exists (select from gone)
$$;
revoke all on function rowcast.restore(text) from public;
comment on function rowcast.restore(text) is 'Takes back what rowcast.revoke did.';
