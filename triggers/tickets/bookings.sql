-- What bookings tell: booking_created and booking_cancelled, each with the seats that are left
-- after it; and seat_update when a booking takes more or fewer seats than before.
-- Seats left are not counted but read from the event's row. The shop's own trigger (schema.sql) has
-- just written it, and whoever else books this event waits until this transaction has ended: nobody
-- changes the number meanwhile, and events of one room are told in the order of their commits. Each
-- carries its own number, in a replay as well.
-- Of several bookings in one statement each tells what is left after it: what there is in the end,
-- less what those behind it free (a booking frees a negative number of seats). What frees comes
-- before what takes, so that none of the numbers is below zero.

select rowcast.attach('tickets.bookings', 'insert', $$
  select
    'booking_created' as name,
    array['event:' || n.event_id] as rooms,
    json_build_object('eventId', n.event_id, 'bookingId', n.booking_id, 'userId', n.user_id,
      'availableSeats', e.seat_capacity - e.booked_seats + n.taken_later) as data
  from (
    select n.*, coalesce(sum(n.seats) over (
      partition by n.event_id order by n.booking_id rows between 1 following and unbounded following
    ), 0) as taken_later
    from new_rows n
    where n.status = 'confirmed'
  ) n
  join tickets.events e on e.event_id = n.event_id
  order by n.event_id, n.booking_id
$$);

-- A booking that was given another number, event or user is an old one that ended (there is no n)
-- and a new one that began (there is no o).
select rowcast.attach('tickets.bookings', 'update', $$
  with pair as (
    select o, n
    from old_rows o
    full join new_rows n on n.booking_id = o.booking_id and n.event_id = o.event_id
      and n.user_id = o.user_id
  ),
  step as (
    select 1 as stage, 'booking_cancelled' as name, (o).event_id, (o).booking_id, (o).user_id,
      (o).seats as freed
    from pair
    where (o).status = 'confirmed' and coalesce((n).status, 'cancelled') = 'cancelled'
    union all
    select 2, 'seat_update', (n).event_id, (n).booking_id, (n).user_id, (o).seats - (n).seats
    from pair
    where (o).status = 'confirmed' and (n).status = 'confirmed' and (o).seats <> (n).seats
    union all
    select 3, 'booking_created', (n).event_id, (n).booking_id, (n).user_id, -(n).seats
    from pair
    where coalesce((o).status, 'cancelled') = 'cancelled' and (n).status = 'confirmed'
  ),
  told as (
    select s.*, e.seat_capacity, e.seat_capacity - e.booked_seats - coalesce(sum(s.freed) over (
      partition by s.event_id order by s.stage, s.freed desc, s.booking_id
      rows between 1 following and unbounded following
    ), 0) as available
    from step s
    join tickets.events e on e.event_id = s.event_id
  )
  select
    t.name,
    array['event:' || t.event_id] as rooms,
    case t.name
      when 'seat_update' then json_build_object('eventId', t.event_id,
        'availableSeats', t.available, 'seatCapacity', t.seat_capacity)
      else json_build_object('eventId', t.event_id, 'bookingId', t.booking_id,
        'userId', t.user_id, 'availableSeats', t.available)
    end as data
  from told t
  order by t.event_id, t.stage, t.freed desc, t.booking_id
$$);

-- A cancelled booking that is deleted is housekeeping: nobody is told.
select rowcast.attach('tickets.bookings', 'delete', $$
  select
    'booking_cancelled' as name,
    array['event:' || o.event_id] as rooms,
    json_build_object('eventId', o.event_id, 'bookingId', o.booking_id, 'userId', o.user_id,
      'availableSeats', e.seat_capacity - e.booked_seats - o.freed_later) as data
  from (
    select o.*, coalesce(sum(o.seats) over (
      partition by o.event_id order by o.booking_id rows between 1 following and unbounded following
    ), 0) as freed_later
    from old_rows o
    where o.status = 'confirmed'
  ) o
  join tickets.events e on e.event_id = o.event_id
  order by o.event_id, o.booking_id
$$);

select rowcast.attach('tickets.bookings', 'truncate', $$
  select
    'seat_update' as name,
    array['event:' || e.event_id] as rooms,
    json_build_object('eventId', e.event_id, 'availableSeats', e.seat_capacity,
      'seatCapacity', e.seat_capacity) as data
  from tickets.events e
$$);
