-- What schedules tell: THERAPIST_SCHEDULE_UPDATED to the therapist, reception and managers, each
-- with what they may see of the day's bookings, and the day's AVAILABILITY_UPDATED. Bookings tell
-- both too (bookings.sql). The payload is found when the event is read.

create or replace function spa_push.schedule_as(p_viewer text, p_therapist integer, p_date date)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'therapistId', p_therapist,
    'therapistName', (select u.full_name from spa.users u where u.user_id = p_therapist),
    'date', p_date,
    'schedule', (
      select coalesce(json_agg(json_build_object('scheduleId', s.schedule_id,
        'startTime', s.start_time, 'endTime', s.end_time) order by s.start_time), '[]')
      from spa.therapist_schedules s
      where s.therapist_user_id = p_therapist and s.work_date = p_date
    ),
    'bookings', (
      select coalesce(json_agg(spa_push.booking_as(p_viewer, b)
        order by b.appointment_time, b.booking_id), '[]')
      from spa.bookings b
      where b.therapist_user_id = p_therapist and b.appointment_date = p_date
        and b.booking_status <> 'CANCELLED'
    )
  )
$$;

create or replace function spa_push.schedule_state(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, spa_push.schedule_as(k.key ->> 'viewer', (k.key ->> 'therapistId')::integer,
    (k.key ->> 'date')::date)
  from unnest(p_keys) k (key)
$$;
comment on function spa_push.schedule_state(jsonb[]) is
  'Renders THERAPIST_SCHEDULE_UPDATED; key {"therapistId","date","viewer"}.';

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa_push.schedule_as(text, integer, date)', 'spa_push.schedule_state(jsonb[])'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

select rowcast.attach('spa.therapist_schedules', 'insert', $$
  select e.name, e.rooms, e.data, e.channel, e.render
  from (select distinct n.therapist_user_id, n.work_date from new_rows n) d
  cross join lateral spa_push.day_changed(d.therapist_user_id, d.work_date, true) e
$$);

select rowcast.attach('spa.therapist_schedules', 'update', $$
  select e.name, e.rooms, e.data, e.channel, e.render
  from (
    select distinct d.therapist_user_id, d.work_date
    from old_rows o
    full join new_rows n on n.schedule_id = o.schedule_id
    cross join lateral (
      values (o.therapist_user_id, o.work_date), (n.therapist_user_id, n.work_date)
    ) d (therapist_user_id, work_date)
    where d.work_date is not null
      and (o.therapist_user_id, o.work_date, o.start_time, o.end_time)
        is distinct from (n.therapist_user_id, n.work_date, n.start_time, n.end_time)
  ) d
  cross join lateral spa_push.day_changed(d.therapist_user_id, d.work_date, true) e
$$);

select rowcast.attach('spa.therapist_schedules', 'delete', $$
  select e.name, e.rooms, e.data, e.channel, e.render
  from (select distinct o.therapist_user_id, o.work_date from old_rows o) d
  cross join lateral spa_push.day_changed(d.therapist_user_id, d.work_date, true) e
$$);

select rowcast.attach('spa.therapist_schedules', 'truncate', $$
  select
    'reset' as name,
    array['*'] as rooms,
    json_build_object('table', 'spa.therapist_schedules') as data
$$);
