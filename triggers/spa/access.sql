-- Who is who, and who may hear what. The application's cookie JSESSIONID is exchanged for claims:
-- sub (user id) and role (user type). A room is joined if the rule with the longest fitting pattern
-- says yes to them. No rule, no entry.

-- The second that a time is in, as claims have it: never a later one, or whoever is revoked while
-- it lasts would stay. A session may begin or end at infinity, which is no number.
create or replace function spa_push.second_of(p_time timestamptz) returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select floor(extract(epoch from greatest('1970-01-01Z', least('9999-01-01Z', p_time))))::bigint
$$;

-- Null when there is no such session, it has been idle for too long, or the user is no longer
-- active. Its end moves with each request that the application notes in last_accessed_at; with an
-- interval of zero or less it has none, as in the Servlet API.
create or replace function spa_push.claims_of(p_session text) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('sub', u.user_id::text, 'role', u.user_type,
    'iat', spa_push.second_of(s.created_at), 'exp', spa_push.second_of(e.ends_at))
  from spa.http_sessions s
  join spa.users u on u.user_id = s.user_id and u.is_active
  cross join lateral (
    select case when s.max_inactive_seconds > 0
      then s.last_accessed_at + make_interval(secs => s.max_inactive_seconds)
      else 'infinity'
    end
  ) e (ends_at)
  where s.session_id = p_session and e.ends_at > now()
$$;

-- The rooms somebody is in from the start, without asking.
create or replace function spa_push.home_rooms(p_claims jsonb) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select (p_claims ->> 'role') || '_' || (p_claims ->> 'sub')
    where spa_push.is_signed_in(p_claims, null)
    union all
    select (p_claims ->> 'role') || '_all'
    where spa_push.is_signed_in(p_claims, null)
      and p_claims ->> 'role' in ('receptionist', 'manager', 'admin')
  )
$$;

-- {userType}_{userId}: the user. {userType}_all: everybody of that type, of staff only.
create or replace function spa_push.may_join_own(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p_room = any (spa_push.home_rooms(p_claims))
$$;

-- calendar: everybody who is signed in may look at it.
create or replace function spa_push.may_join_calendar(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select spa_push.is_signed_in(p_claims, p_room)
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa_push.second_of(timestamptz)', 'spa_push.claims_of(text)',
    'spa_push.may_join_own(jsonb, text)', 'spa_push.may_join_calendar(jsonb, text)',
    'spa_push.home_rooms(jsonb)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.session_rule (cookie, claims_of) values
  ('JSESSIONID', 'spa_push.claims_of(text)')
on conflict on constraint session_rule_pkey do update set claims_of = excluded.claims_of;

insert into rowcast.room_rule (pattern, may_join) values
  ('customer_*', 'spa_push.may_join_own(jsonb, text)'),
  ('therapist_*', 'spa_push.may_join_own(jsonb, text)'),
  ('receptionist_*', 'spa_push.may_join_own(jsonb, text)'),
  ('manager_*', 'spa_push.may_join_own(jsonb, text)'),
  ('admin_*', 'spa_push.may_join_own(jsonb, text)'),
  ('calendar', 'spa_push.may_join_calendar(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;

insert into rowcast.home_rule (rooms_of) values ('spa_push.home_rooms(jsonb)')
on conflict on constraint home_rule_pkey do nothing;
