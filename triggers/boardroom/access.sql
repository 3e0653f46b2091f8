-- Who comes in, and who may hear what. Whoever has a session of the application is in, under the
-- claims sub (user id), role (user, admin) and name, for as long as the session lasts.

-- The second that a time is in, as claims have it: never a later one, or whoever is revoked while
-- it lasts would stay. A session may begin or end at infinity, which is no number.
create or replace function boardroom_push.second_of(p_time timestamptz) returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select floor(extract(epoch from greatest('1970-01-01Z', least('9999-01-01Z', p_time))))::bigint
$$;

create or replace function boardroom_push.claims_of(p_cookie text) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('sub', u.user_id, 'role', u.role, 'name', u.name,
    'iat', boardroom_push.second_of(s.created_at), 'exp', boardroom_push.second_of(s.expires_at))
  from boardroom.sessions s
  join boardroom.users u on u.user_id = s.user_id
  where s.secret_hash = sha256(convert_to(p_cookie, 'UTF8')) and s.expires_at > now()
$$;

-- bookings, and boardroom-{id} of every boardroom there is: all who are signed in see the calendar.
create or replace function boardroom_push.may_join(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false) and (p_room = 'bookings' or exists (
    select from boardroom.boardrooms r
    where r.boardroom_id = substr(p_room, 11) and starts_with(p_room, 'boardroom-')
  ))
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'boardroom_push.second_of(timestamptz)', 'boardroom_push.claims_of(text)',
    'boardroom_push.may_join(jsonb, text)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.room_rule (pattern, may_join) values
  ('bookings', 'boardroom_push.may_join(jsonb, text)'),
  ('boardroom-*', 'boardroom_push.may_join(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;

insert into rowcast.session_rule (cookie, claims_of) values
  ('boardroom_session', 'boardroom_push.claims_of(text)')
on conflict on constraint session_rule_pkey do update set claims_of = excluded.claims_of;
