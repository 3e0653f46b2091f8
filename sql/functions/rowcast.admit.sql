-- Which of these rooms may somebody with these claims join? The longest pattern decides; no rule
-- means no. Forbidden rooms and rooms that do not exist answer alike. `failed` is for the service's
-- log: a warning for each name would let a client fill PostgreSQL's.

-- As it was before `failed`.
drop function if exists rowcast.admit(jsonb, text[]);

create or replace function rowcast.admit(p_claims jsonb, p_rooms text[])
returns table (room text, allowed boolean, failed text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_rule text;
begin
  perform rowcast.check_owner();
  perform set_config('request.jwt.claims', p_claims::text, true);
  foreach room in array p_rooms loop
    select r.may_join into v_rule
    from rowcast.room_rule r
    where r.pattern = room
      or (right(r.pattern, 1) = '*' and starts_with(room, left(r.pattern, -1)))
    -- A literal is longer than any prefix of it.
    order by r.pattern = room desc, length(r.pattern) desc
    limit 1;
    allowed := false;
    failed := null;
    if room = '*' then
      allowed := true;
    elsif v_rule is not null then
      -- A name is a client's word: a rule that can't stand it must not fail for the other rooms.
      begin
        execute format('select %s($1, $2)', coalesce(
          to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
        )) into allowed using p_claims, room;
      exception
        when others or assert_failure then
          perform rowcast.check_any_rewrite();
          failed := rowcast.rule_failed('room', v_rule, sqlstate, sqlerrm) || '; it says no';
          allowed := false;
      end;
    end if;
    allowed := coalesce(allowed, false);
    return next;
  end loop;
end
$$;
revoke all on function rowcast.admit(jsonb, text[]) from public;
-- The service asks rowcast.access, which calls this.
revoke all on function rowcast.admit(jsonb, text[]) from rowcast_service;
comment on function rowcast.admit(jsonb, text[]) is
  'For each room, whether these claims may join it, and what its rule failed with.';
