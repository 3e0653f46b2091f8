-- The rooms that somebody with these claims is in from the start, in the order of the rules'
-- answers: where there are more than a connection may have, the last are left out. An error names
-- its rule.

create or replace function rowcast.home_rooms(p_claims jsonb) returns text[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule text;
  v_rooms text[];
  v_all text[] := '{}';
begin
  perform rowcast.check_owner();
  perform set_config('request.jwt.claims', p_claims::text, true);
  begin
    for v_rule in select rooms_of from rowcast.home_rule order by rooms_of loop
      execute format('select %s($1)', coalesce(
        to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
      )) into v_rooms using p_claims;
      -- Here it is known whose they are, if they can't be sent.
      perform convert_to(array_to_string(v_rooms, ''), 'UTF8');
      v_all := v_all || coalesce(v_rooms, '{}');
    end loop;
  exception
    when others or assert_failure then
      raise exception using errcode = sqlstate,
        message = rowcast.rule_failed('home', v_rule, sqlstate, sqlerrm);
  end;
  return array(
    select a.room
    from unnest(v_all) with ordinality a (room, place)
    where a.room <> ''
    group by a.room
    order by min(a.place)
  );
end
$$;
revoke all on function rowcast.home_rooms(jsonb) from public;
-- The service asks rowcast.access, which calls this.
revoke all on function rowcast.home_rooms(jsonb) from rowcast_service;
comment on function rowcast.home_rooms(jsonb) is
  'Rooms joined at connect, from every rowcast.home_rule.';
