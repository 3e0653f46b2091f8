-- Exchanges the cookies of an application for claims: the first rule whose cookie was sent and
-- whose function answers. Null means nobody. An error names its rule.

create or replace function rowcast.session_claims(p_cookies jsonb) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cookie text;
  v_rule text;
  v_claims jsonb;
begin
  perform rowcast.check_owner();
  for v_cookie, v_rule in
    select cookie, claims_of from rowcast.session_rule where p_cookies ? cookie order by cookie
  loop
    execute format('select %s($1)', coalesce(
      to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
    )) into v_claims using p_cookies ->> v_cookie;
    -- Here it is known whose they are, if they can't be sent.
    perform convert_to(v_claims::text, 'UTF8');
    exit when v_claims is not null;
  end loop;
  return v_claims;
exception
  when others or assert_failure then
    raise exception using errcode = sqlstate,
      message = rowcast.rule_failed('session', v_rule, sqlstate, sqlerrm);
end
$$;
revoke all on function rowcast.session_claims(jsonb) from public;
-- The service asks rowcast.access, which calls this.
revoke all on function rowcast.session_claims(jsonb) from rowcast_service;
comment on function rowcast.session_claims(jsonb) is
  'Claims for an application''s own session cookies, or null.';
