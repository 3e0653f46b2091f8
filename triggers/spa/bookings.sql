-- What bookings tell: BOOKING_CREATED, BOOKING_STATUS_CHANGED, BOOKING_RESCHEDULED, and what their
-- therapist's day tells (availability.sql). new_rows and old_rows are the rows of one statement,
-- after and before it. What their payloads hold is in booking_details.sql.

select rowcast.attach('spa.bookings', 'insert', $$
  select
    'BOOKING_CREATED' as name,
    v.rooms,
    spa_push.booking_as(v.viewer, row(n.*)::spa.bookings) as data,
    'bookings' as channel,
    null as render
  from new_rows n
  cross join lateral spa_push.viewers(n.customer_id, n.therapist_user_id) v
  union all
  select e.name, e.rooms, e.data, e.channel, e.render
  from (select distinct n.therapist_user_id, n.appointment_date from new_rows n) d
  cross join lateral spa_push.day_changed(d.therapist_user_id, d.appointment_date, true) e
$$);

-- A booking that was given another number or customer is an old one that was cancelled (there is
-- no n) and a new one (there is no o).
select rowcast.attach('spa.bookings', 'update', $$
  with pair as (
    select row(o.*)::spa.bookings as o, row(n.*)::spa.bookings as n
    from old_rows o
    full join new_rows n on n.booking_id = o.booking_id and n.customer_id = o.customer_id
  ),
  change as (
    select p.n as booking, (p.o).booking_status as old_status, (p.n).booking_status as new_status
    from pair p
    where (p.o).booking_status <> (p.n).booking_status
    union all
    select p.o, (p.o).booking_status, 'CANCELLED'
    from pair p
    where (p.n).booking_id is null and spa_push.is_live((p.o).booking_status)
  ),
  placed as (
    select p.n as booking,
      case when (p.o).booking_id is null then 'BOOKING_CREATED' else 'BOOKING_RESCHEDULED' end
        as name
    from pair p
    where spa_push.is_live((p.n).booking_status) and
      ((p.o).service_id, (p.o).therapist_user_id, (p.o).appointment_date, (p.o).appointment_time,
        (p.o).duration_minutes) is distinct from
      ((p.n).service_id, (p.n).therapist_user_id, (p.n).appointment_date, (p.n).appointment_time,
        (p.n).duration_minutes)
  ),
  -- The days concerned; of those, where time was taken or given back.
  day as (
    select d.therapist_id, d.date, bool_or(p.moves) as frees
    from (
      select p.o, p.n,
        ((p.o).therapist_user_id, (p.o).appointment_date, (p.o).appointment_time,
          (p.o).duration_minutes, (p.o).booking_status in ('CANCELLED', 'NO_SHOW'))
        is distinct from
        ((p.n).therapist_user_id, (p.n).appointment_date, (p.n).appointment_time,
          (p.n).duration_minutes, (p.n).booking_status in ('CANCELLED', 'NO_SHOW')) as moves
      from pair p
    ) p
    cross join lateral (
      values
        ((p.o).therapist_user_id, (p.o).appointment_date),
        ((p.n).therapist_user_id, (p.n).appointment_date)
    ) d (therapist_id, date)
    where d.date is not null and (p.moves or
      ((p.o).service_id, (p.o).payment_item_id, (p.o).booking_status, (p.o).booking_notes)
      is distinct from
      ((p.n).service_id, (p.n).payment_item_id, (p.n).booking_status, (p.n).booking_notes))
    group by d.therapist_id, d.date
  )
  select
    'BOOKING_STATUS_CHANGED' as name,
    array['customer_' || (c.booking).customer_id, 'therapist_' || (c.booking).therapist_user_id,
      'manager_all', 'admin_all'] as rooms,
    spa_push.status_change(c.booking, c.old_status, c.new_status) as data,
    'bookings' as channel,
    null as render
  from change c
  union all
  select p.name, v.rooms, spa_push.booking_as(v.viewer, p.booking), 'bookings', null
  from placed p
  cross join lateral
    spa_push.viewers((p.booking).customer_id, (p.booking).therapist_user_id) v
  union all
  select e.name, e.rooms, e.data, e.channel, e.render
  from day d
  cross join lateral spa_push.day_changed(d.therapist_id, d.date, d.frees) e
$$);

-- A finished or cancelled booking that is deleted is housekeeping: nobody is told.
select rowcast.attach('spa.bookings', 'delete', $$
  with gone as (
    select row(o.*)::spa.bookings as booking
    from old_rows o
    where spa_push.is_live(o.booking_status)
  )
  select
    'BOOKING_STATUS_CHANGED' as name,
    array['customer_' || (g.booking).customer_id, 'therapist_' || (g.booking).therapist_user_id,
      'manager_all', 'admin_all'] as rooms,
    spa_push.status_change(g.booking, (g.booking).booking_status, 'CANCELLED') as data,
    'bookings' as channel,
    null as render
  from gone g
  union all
  select e.name, e.rooms, e.data, e.channel, e.render
  from (
    select distinct (g.booking).therapist_user_id, (g.booking).appointment_date from gone g
  ) d
  cross join lateral spa_push.day_changed(d.therapist_user_id, d.appointment_date, true) e
$$);

select rowcast.attach('spa.bookings', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'spa.bookings') as data
$$);
