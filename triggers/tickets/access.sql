-- Who may hear what. event:{eventId}: everybody who is signed in, if there is such an event. Nobody
-- is anywhere from the start: which event is looked at, the page says.

create or replace function tickets_push.may_join_event(p_claims jsonb, p_room text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false) and case
    when p_room ~ '^event:[1-9][0-9]{0,17}$'
      then exists (select from tickets.events e where e.event_id = substr(p_room, 7)::bigint)
    else false
  end
$$;
alter function tickets_push.may_join_event(jsonb, text) owner to rowcast_owner;
revoke all on function tickets_push.may_join_event(jsonb, text) from public;
grant execute on function tickets_push.may_join_event(jsonb, text) to rowcast_owner;

insert into rowcast.room_rule (pattern, may_join) values
  ('event:*', 'tickets_push.may_join_event(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;
