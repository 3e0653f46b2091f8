-- First of the two statements of a call: settles whether it may be, and what holds for the second,
-- rowcast.call, since a time limit counts from the next statement on. Both stand in one transaction
-- of REPEATABLE READ, which begins as one that may write: what is read-only can't become more.
-- No error for what a client may get wrong, so that the server's log is not a client's to fill.

create or replace function rowcast.begin_call(
  p_name text,
  p_claims jsonb,
  p_leeway bigint,
  p_version bigint,
  p_timeout_ms bigint
) returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_callable rowcast.callable;
  v_verdict text := 'ok';
  v_allowed boolean := true;
begin
  perform rowcast.check_owner();
  select * into v_callable from rowcast.callable where name = p_name;
  if v_callable.writes then
    -- At once: what begins between the snapshot and this has to be spelled out in the bookmark.
    perform pg_current_xact_id();
  else
    perform set_config('transaction_read_only', 'on', true);
  end if;
  perform set_config('request.jwt.claims', p_claims::text, true);
  if rowcast.is_revoked(p_claims, p_leeway, p_version) then
    v_verdict := 'revoked';
  elsif v_callable.name is null then
    v_verdict := 'not listed';
  elsif to_regprocedure(v_callable.function) is null then
    v_verdict := 'listed, but dropped';
  elsif v_callable.may_call is not null then
    begin
      execute format('select %s($1, $2)', coalesce(
        to_regprocedure(v_callable.may_call)::oid::regproc::text,
        rowcast.no_function(v_callable.may_call)
      )) into v_allowed using p_claims, p_name;
    exception
      when others or assert_failure then
        perform rowcast.check_any_rewrite();
        v_verdict := rowcast.rule_failed('may_call', v_callable.may_call, sqlstate, sqlerrm)
          || '; it says no';
    end;
    if v_verdict = 'ok' and not coalesce(v_allowed, false) then
      v_verdict := 'forbidden';
    end if;
    perform rowcast.check_rewrites();
  end if;
  perform set_config('rowcast.call', case when v_verdict = 'ok' then p_name else '' end, true);
  perform set_config('statement_timeout', ceil(least(
    extract(epoch from v_callable.timeout) * 1000, p_timeout_ms))::bigint::text, true);
  return v_verdict;
end
$$;
revoke all on function rowcast.begin_call(text, jsonb, bigint, bigint, bigint) from public;
grant execute on function rowcast.begin_call(text, jsonb, bigint, bigint, bigint)
  to rowcast_service;
comment on function rowcast.begin_call(text, jsonb, bigint, bigint, bigint) is
  'Prepares a transaction for rowcast.call: ok, revoked, or why there is no such function.';
