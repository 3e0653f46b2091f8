-- What bookings tell: booking:created, booking:updated and booking:cancelled; time-slot:updated
-- when a spot is taken or given back; and waitlist:spot-available to the first in line when one is
-- given back. To add a field to a payload, add it to its json_build_object. new_rows and old_rows
-- are the rows of one statement, after and before it.
-- Spots left are not counted here: a concurrent booking could not be seen. The event names the
-- function that counts when the event is read: lab_push.slot_state, lab_push.spot_available.

-- Whom a freed spot may be for: as many as the slot has spots, because others may be given back at
-- the same moment. Who of them is told shows when the event is read.
create or replace function lab_push.next_in_line(p_slot bigint)
returns table (waitlist_id bigint, slot_id bigint, user_id text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select w.waitlist_id, w.slot_id, w.user_id
  from lab.waitlist w
  where w.slot_id = p_slot and w.status = 'waiting'
  order by w.joined_at, w.waitlist_id
  limit coalesce((select s.capacity from lab.slots s where s.slot_id = p_slot), 0)
$$;
alter function lab_push.next_in_line(bigint) owner to rowcast_owner;
revoke all on function lab_push.next_in_line(bigint) from public;
grant execute on function lab_push.next_in_line(bigint) to rowcast_owner;

select rowcast.attach('lab.bookings', 'insert', $$
  select
    'booking:created' as name,
    array['user:' || n.user_id, 'lab:' || n.lab_id, 'admin:all'] as rooms,
    json_build_object('bookingId', n.booking_id, 'userId', n.user_id, 'slotId', n.slot_id,
      'labId', n.lab_id, 'status', n.status) as data,
    'bookings' as channel,
    null as render
  from new_rows n
  union all
  select distinct on (n.slot_id)
    'time-slot:updated', array['lab:' || n.lab_id],
    json_build_object('slotId', n.slot_id, 'labId', n.lab_id), 'slots', 'lab_push.slot_state'
  from new_rows n
  where n.status <> 'cancelled'
$$);

-- A booking that was given another number, user, slot or lab is an old one that ended (there is no
-- n) and a new one that began (there is no o).
select rowcast.attach('lab.bookings', 'update', $$
  with pair as (
    select o, n
    from old_rows o
    full join new_rows n on n.booking_id = o.booking_id and n.user_id = o.user_id
      and n.slot_id = o.slot_id and n.lab_id = o.lab_id
  ),
  freed as (
    select slot_id, lab_id, sum(spots) as spots
    from (
      select o.slot_id, o.lab_id, 1 from old_rows o where o.status <> 'cancelled'
      union all
      select n.slot_id, n.lab_id, -1 from new_rows n where n.status <> 'cancelled'
    ) held (slot_id, lab_id, spots)
    group by slot_id, lab_id
    having sum(spots) <> 0
  )
  select
    'booking:cancelled' as name,
    array['user:' || (o).user_id, 'lab:' || (o).lab_id, 'admin:all'] as rooms,
    json_build_object('bookingId', (o).booking_id, 'userId', (o).user_id, 'slotId', (o).slot_id,
      'labId', (o).lab_id) as data,
    'bookings' as channel,
    null as render
  from pair
  where (o).status <> 'cancelled' and coalesce((n).status, 'cancelled') = 'cancelled'
  union all
  select
    'booking:updated', array['user:' || (n).user_id, 'admin:all'],
    json_build_object('bookingId', (n).booking_id, 'userId', (n).user_id, 'status', (n).status,
      'updatedBy', lab_push.updated_by((n).updated_by)),
    'bookings', null
  from pair
  where (n).status <> 'cancelled' and (o).booking_id is not null
    and ((n).status, (n).updated_by) is distinct from ((o).status, (o).updated_by)
  union all
  select
    'booking:created', array['user:' || (n).user_id, 'lab:' || (n).lab_id, 'admin:all'],
    json_build_object('bookingId', (n).booking_id, 'userId', (n).user_id, 'slotId', (n).slot_id,
      'labId', (n).lab_id, 'status', (n).status),
    'bookings', null
  from pair
  where (n).status <> 'cancelled' and (o).booking_id is null
  union all
  select
    'time-slot:updated', array['lab:' || f.lab_id],
    json_build_object('slotId', f.slot_id, 'labId', f.lab_id), 'slots', 'lab_push.slot_state'
  from freed f
  union all
  select
    'waitlist:spot-available', array['user:' || w.user_id],
    json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id, 'slotId', w.slot_id),
    'waitlist', 'lab_push.spot_available'
  from freed f
  cross join lateral lab_push.next_in_line(f.slot_id) w
  where f.spots > 0
$$);

-- A finished or cancelled booking that is deleted is housekeeping: nobody is told.
select rowcast.attach('lab.bookings', 'delete', $$
  with gone as (
    select * from old_rows o where o.status in ('pending', 'confirmed')
  ),
  freed as (
    select g.slot_id, g.lab_id, count(*) as spots from gone g group by g.slot_id, g.lab_id
  )
  select
    'booking:cancelled' as name,
    array['user:' || g.user_id, 'lab:' || g.lab_id, 'admin:all'] as rooms,
    json_build_object('bookingId', g.booking_id, 'userId', g.user_id, 'slotId', g.slot_id,
      'labId', g.lab_id) as data,
    'bookings' as channel,
    null as render
  from gone g
  union all
  select
    'time-slot:updated', array['lab:' || f.lab_id],
    json_build_object('slotId', f.slot_id, 'labId', f.lab_id), 'slots', 'lab_push.slot_state'
  from freed f
  union all
  select
    'waitlist:spot-available', array['user:' || w.user_id],
    json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id, 'slotId', w.slot_id),
    'waitlist', 'lab_push.spot_available'
  from freed f
  cross join lateral lab_push.next_in_line(f.slot_id) w
$$);

select rowcast.attach('lab.bookings', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.bookings') as data
$$);
