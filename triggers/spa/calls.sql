-- What pages ask for (rowcast's calls): the free times of a day, a therapist's schedule, bookings.
-- Each answers with the place in history that it is true at; what happens from there on comes as
-- events. Everybody gets what the events would show them.

create or replace function spa_push.claims() returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create or replace function spa_push.is_signed_in(p_claims jsonb, p_name text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_claims ->> 'sub' ~ '^[0-9]{1,10}$'
    then (p_claims ->> 'sub')::bigint <= 2147483647
    else false
  end and coalesce(
    p_claims ->> 'role' in ('customer', 'therapist', 'receptionist', 'manager', 'admin'), false)
$$;

-- What the caller sees bookings as: an admin sees what managers see.
create or replace function spa_push.viewer() returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case c.role when 'admin' then 'manager' else c.role end
  from (select spa_push.claims() ->> 'role') c (role)
$$;

-- The answer is the payload of AVAILABILITY_UPDATED.
create or replace function spa_push.availability_of(service integer, therapist integer, day date)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select spa_push.availability(service, therapist, day)
$$;

-- The answer is the payload of THERAPIST_SCHEDULE_UPDATED. A therapist may ask for their own.
create or replace function spa_push.therapist_schedule(
  therapist integer default null,
  day date default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_viewer text := spa_push.viewer();
  v_caller integer := (spa_push.claims() ->> 'sub')::integer;
  v_therapist integer := coalesce(therapist, v_caller);
begin
  if v_viewer = 'customer' or (v_viewer = 'therapist' and v_therapist <> v_caller)
    or not exists (select from spa.therapists t where t.user_id = v_therapist)
  then
    raise exception 'no such schedule for you';
  end if;
  return spa_push.schedule_as(v_viewer, v_therapist, coalesce(day, current_date));
end
$$;

-- Bookings that are not cancelled, of a day, or from today on: a customer's or therapist's own, and
-- for everybody else all of them.
create or replace function spa_push.bookings(day date default null) returns setof json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select spa_push.booking_as(v.viewer, b)
  from (select spa_push.viewer(), (spa_push.claims() ->> 'sub')::integer) v (viewer, caller)
  join spa.bookings b on case v.viewer
    when 'customer' then b.customer_id = v.caller
    when 'therapist' then b.therapist_user_id = v.caller
    else true
  end
  where b.booking_status <> 'CANCELLED'
    and (b.appointment_date = day or (day is null and b.appointment_date >= current_date))
  order by b.appointment_date, b.appointment_time, b.booking_id
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa_push.claims()', 'spa_push.is_signed_in(jsonb, text)', 'spa_push.viewer()',
    'spa_push.availability_of(integer, integer, date)',
    'spa_push.therapist_schedule(integer, date)', 'spa_push.bookings(date)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.callable (name, function, may_call) values
  ('availability', 'spa_push.availability_of(integer, integer, date)',
    'spa_push.is_signed_in(jsonb, text)'),
  ('therapist_schedule', 'spa_push.therapist_schedule(integer, date)',
    'spa_push.is_signed_in(jsonb, text)'),
  ('bookings', 'spa_push.bookings(date)', 'spa_push.is_signed_in(jsonb, text)')
on conflict on constraint callable_pkey do update
set function = excluded.function, may_call = excluded.may_call;
