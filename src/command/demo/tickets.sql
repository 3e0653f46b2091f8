-- The ticket shop's demo.

-- Alice (456) and Bob (457) look at the concert; Charlie (789) buys, as do many without a name.
insert into tickets.events (title, venue, seat_capacity, starts_at)
values ('Rock Concert', 'City Hall', 100,
  date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' + interval '30 days 20 hours');
insert into tickets.bookings (event_id, user_id) select 1, 1000 + n from generate_series(1, 54) n;

create or replace function demo.state() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'bookmark', rowcast.bookmark(),
    'people', json_build_object('456', 'Alice', '457', 'Bob', '789', 'Charlie'),
    'event', (
      select json_build_object('eventId', e.event_id, 'title', e.title, 'venue', e.venue,
        'startsAt', to_char(e.starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'seatCapacity', e.seat_capacity, 'availableSeats', e.seat_capacity - e.booked_seats)
      from tickets.events e where e.event_id = 1
    ),
    'statements', demo.statements()
  )
$$;

create or replace function demo.sign_in(p_view text) returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_view
    when 'alice' then jsonb_build_object('sub', '456')
    when 'bob' then jsonb_build_object('sub', '457')
  end
$$;

insert into demo.statement (number, title, sql) values
(1, 'Charlie books a seat', $sql$insert into tickets.bookings (event_id, user_id)
values (1, 789)$sql$),
(2, 'Charlie cancels the latest booking', $sql$update tickets.bookings
set status = 'cancelled'
where booking_id = (select booking_id from tickets.bookings
  where event_id = 1 and user_id = 789 and status = 'confirmed'
  order by created_at desc, booking_id limit 1)$sql$),
(3, 'Ten friends, one booking', $sql$insert into tickets.bookings (event_id, user_id, seats)
values (1, 790, 10)$sql$),
(4, 'Twenty people book, by one statement', $sql$insert into tickets.bookings (event_id, user_id)
select 1, 2000 + n from generate_series(1, 20) n$sql$),
(5, 'Fifty bookings are cancelled, by one statement', $sql$update tickets.bookings
set status = 'cancelled'
where booking_id in (select booking_id from tickets.bookings
  where event_id = 1 and status = 'confirmed'
  order by created_at desc, booking_id limit 50)$sql$),
(6, 'Somebody books a thousand seats', $sql$insert into tickets.bookings (event_id, user_id, seats)
values (1, 791, 1000)$sql$),
(7, 'The balcony opens: twenty seats more (again: it closes)', $sql$update tickets.events
set seat_capacity = case seat_capacity when 120 then 100 else 120 end
where event_id = 1$sql$);

-- A tenth to a half of the seats stay free.
create or replace function demo.writer_step() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_free double precision;
begin
  select (e.seat_capacity - e.booked_seats)::double precision / e.seat_capacity into v_free
  from tickets.events e where e.event_id = 1;
  if random() < 0.03 then
    delete from tickets.bookings b
    where b.status = 'cancelled' and b.created_at < now() - interval '10 minutes';
  elsif v_free > 0.1 and random() < 0.3 + v_free then
    insert into tickets.bookings (event_id, user_id, seats)
    values (1, 1000 + floor(random() * 900), 1 + (random() < 0.3)::integer);
  elsif v_free < 0.5 then
    update tickets.bookings set status = 'cancelled' where booking_id = (
      select b.booking_id from tickets.bookings b
      where b.event_id = 1 and b.status = 'confirmed' and b.user_id >= 1000
      order by random() limit 1
    );
  end if;
end
$$;
