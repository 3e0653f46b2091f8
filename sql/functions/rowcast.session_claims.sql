-- Exchanges the cookies of an application for claims: the first rule whose cookie was sent and
-- whose function answers. Null means nobody.

create or replace function rowcast.session_claims(p_cookies jsonb) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
  v_claims jsonb;
begin
  for v_rule in
    select cookie, claims_of from rowcast.session_rule where p_cookies ? cookie order by cookie
  loop
    execute format('select %s($1)', v_rule.claims_of::oid::regproc)
      into v_claims using p_cookies ->> v_rule.cookie;
    exit when v_claims is not null;
  end loop;
  return v_claims;
end
$$;
revoke all on function rowcast.session_claims(jsonb) from public;
-- The service asks rowcast.access, which calls this.
revoke all on function rowcast.session_claims(jsonb) from rowcast_service;
comment on function rowcast.session_claims(jsonb) is 'Claims for an application''s own session cookies, or null.';
