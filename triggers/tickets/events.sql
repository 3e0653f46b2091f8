-- What events tell: seat_update, when the capacity changes. Seats that are taken and given back are
-- told with the bookings (bookings.sql). And reset to everybody when all events are gone, with
-- which go all bookings.

select rowcast.attach('tickets.events', 'update', $$
  select
    'seat_update' as name,
    array['event:' || n.event_id] as rooms,
    json_build_object('eventId', n.event_id, 'availableSeats', n.seat_capacity - n.booked_seats,
      'seatCapacity', n.seat_capacity) as data
  from new_rows n
  join old_rows o on o.event_id = n.event_id
  where o.seat_capacity <> n.seat_capacity
$$);

select rowcast.attach('tickets.events', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'tickets.events') as data
$$);
