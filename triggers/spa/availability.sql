-- AVAILABILITY_UPDATED: the free times of a therapist's day for one service, to the room calendar;
-- and day_changed, what any change of such a day tells. Free times are not computed here: a
-- concurrent booking could not be seen. The event names the function that does when it is read.

-- Who is told of a booking or a day, and as what: the rooms of each kind of viewer. null: nobody.
create or replace function spa_push.viewers(p_customer integer, p_therapist integer)
returns table (viewer text, rooms text[])
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select v.viewer, v.rooms
  from (
    values
      ('customer', array['customer_' || p_customer]),
      ('therapist', array['therapist_' || p_therapist]),
      ('receptionist', array['receptionist_all']),
      ('manager', array['manager_all', 'admin_all'])
  ) v (viewer, rooms)
  where v.rooms[1] is not null;
end
$$;

-- The therapist's working time of a day, less what is booked, cut into slots as long as the service
-- lasts; what is left over is the last slot's. A service no longer offered has none.
create or replace function spa_push.availability(
  p_service integer,
  p_therapist integer,
  p_date date
) returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with booked as (
    select range_agg(tsrange(b.appointment_date + b.appointment_time,
      b.appointment_date + b.appointment_time + make_interval(mins => b.duration_minutes)))
    from spa.bookings b
    where b.therapist_user_id = p_therapist and b.appointment_date = p_date
      and b.booking_status not in ('CANCELLED', 'NO_SHOW')
  ),
  free as (
    select unnest(range_agg(tsrange(s.work_date + s.start_time, s.work_date + s.end_time))
      - coalesce((table booked), '{}')) as stretch
    from spa.therapist_schedules s
    where s.therapist_user_id = p_therapist and s.work_date = p_date
  ),
  fitting as (
    select lower(f.stretch) as starts_at, v.duration_minutes as lasts,
      floor(extract(epoch from upper(f.stretch) - lower(f.stretch)) / 60)::integer as minutes
    from free f
    join spa.services v on v.service_id = p_service and v.is_active
    join spa.therapist_services t on t.service_id = v.service_id
      and t.therapist_user_id = p_therapist
  )
  select json_build_object(
    'serviceId', p_service,
    'therapistId', p_therapist,
    'date', p_date,
    'availableSlots', coalesce(json_agg(json_build_object(
      'time', (f.starts_at + make_interval(mins => used))::time(0),
      'duration', case when used + 2 * f.lasts > f.minutes then f.minutes - used else f.lasts end
    ) order by f.starts_at, used), '[]')
  )
  from fitting f
  cross join lateral generate_series(0, f.minutes - f.lasts, f.lasts) used
$$;

create or replace function spa_push.availability_state(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, spa_push.availability((k.key ->> 'serviceId')::integer,
    (k.key ->> 'therapistId')::integer, (k.key ->> 'date')::date)
  from unnest(p_keys) k (key)
$$;
comment on function spa_push.availability_state(jsonb[]) is
  'Renders AVAILABILITY_UPDATED; key {"serviceId","therapistId","date"}.';

-- The schedule of that day as each kind of staff sees it (schedules.sql), and if time was taken or
-- given back, the availability for each service of the therapist.
create or replace function spa_push.day_changed(p_therapist integer, p_date date, p_frees boolean)
returns table (name text, rooms text[], data json, channel text, render text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select 'THERAPIST_SCHEDULE_UPDATED', v.rooms,
    json_build_object('therapistId', p_therapist, 'date', p_date, 'viewer', v.viewer),
    'schedules', 'spa_push.schedule_state'
  from spa_push.viewers(null, p_therapist) v
  union all (
    select 'AVAILABILITY_UPDATED', array['calendar'],
      json_build_object('serviceId', t.service_id, 'therapistId', p_therapist, 'date', p_date),
      'availability', 'spa_push.availability_state'
    from spa.therapist_services t
    where p_frees and t.therapist_user_id = p_therapist
    order by t.service_id
  );
end
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa_push.viewers(integer, integer)', 'spa_push.availability(integer, integer, date)',
    'spa_push.availability_state(jsonb[])', 'spa_push.day_changed(integer, date, boolean)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

-- A service that lasts longer, or is no longer offered: the days to come of whoever offers it.
select rowcast.attach('spa.services', 'update', $$
  select distinct on (t.therapist_user_id, s.work_date, n.service_id)
    'AVAILABILITY_UPDATED' as name,
    array['calendar'] as rooms,
    json_build_object('serviceId', n.service_id, 'therapistId', t.therapist_user_id,
      'date', s.work_date) as data,
    'availability' as channel,
    'spa_push.availability_state' as render
  from new_rows n
  join old_rows o on o.service_id = n.service_id
    and (o.duration_minutes, o.is_active) <> (n.duration_minutes, n.is_active)
  join spa.therapist_services t on t.service_id = n.service_id
  join spa.therapist_schedules s on s.therapist_user_id = t.therapist_user_id
    and s.work_date >= current_date
$$);

select rowcast.attach('spa.therapist_services', 'insert', $$
  select distinct on (n.therapist_user_id, s.work_date, n.service_id)
    'AVAILABILITY_UPDATED' as name,
    array['calendar'] as rooms,
    json_build_object('serviceId', n.service_id, 'therapistId', n.therapist_user_id,
      'date', s.work_date) as data,
    'availability' as channel,
    'spa_push.availability_state' as render
  from new_rows n
  join spa.therapist_schedules s on s.therapist_user_id = n.therapist_user_id
    and s.work_date >= current_date
$$);

select rowcast.attach('spa.therapist_services', 'delete', $$
  select distinct on (o.therapist_user_id, s.work_date, o.service_id)
    'AVAILABILITY_UPDATED' as name,
    array['calendar'] as rooms,
    json_build_object('serviceId', o.service_id, 'therapistId', o.therapist_user_id,
      'date', s.work_date) as data,
    'availability' as channel,
    'spa_push.availability_state' as render
  from old_rows o
  join spa.therapist_schedules s on s.therapist_user_id = o.therapist_user_id
    and s.work_date >= current_date
$$);

-- A pair that stays as it is tells nothing.
select rowcast.attach('spa.therapist_services', 'update', $$
  select distinct on (p.therapist_user_id, s.work_date, p.service_id)
    'AVAILABILITY_UPDATED' as name,
    array['calendar'] as rooms,
    json_build_object('serviceId', p.service_id, 'therapistId', p.therapist_user_id,
      'date', s.work_date) as data,
    'availability' as channel,
    'spa_push.availability_state' as render
  from (
    (select o.therapist_user_id, o.service_id from old_rows o
      except select n.therapist_user_id, n.service_id from new_rows n)
    union all
    (select n.therapist_user_id, n.service_id from new_rows n
      except select o.therapist_user_id, o.service_id from old_rows o)
  ) p
  join spa.therapist_schedules s on s.therapist_user_id = p.therapist_user_id
    and s.work_date >= current_date
$$);

select rowcast.attach('spa.therapist_services', 'truncate', $$
  select 'reset' as name, array['*'] as rooms,
    json_build_object('table', 'spa.therapist_services') as data, 'availability' as channel
$$);
