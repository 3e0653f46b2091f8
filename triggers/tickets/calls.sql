-- What a page asks for before it listens (rowcast's calls): the events with the seats that are
-- left, and the caller's bookings. Each answers with the place in history that it is true at; what
-- happens from there on comes as events. Everybody who is signed in may ask. Times are in UTC.

create or replace function tickets_push.is_signed_in(p_claims jsonb, p_name text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false)
$$;

create or replace function tickets_push.utc(p_time timestamptz) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- All events, or the one that is asked for.
create or replace function tickets_push.event_seats(event bigint default null)
returns table ("eventId" bigint, title text, venue text, "startsAt" text, "seatCapacity" integer,
  "availableSeats" integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select e.event_id, e.title, e.venue, tickets_push.utc(e.starts_at), e.seat_capacity,
    e.seat_capacity - e.booked_seats
  from tickets.events e
  where event_seats.event is null or e.event_id = event_seats.event
  order by e.starts_at, e.event_id
$$;

-- The caller's bookings, the latest first.
create or replace function tickets_push.my_bookings()
returns table ("bookingId" text, "eventId" bigint, seats integer, status text, "createdAt" text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select b.booking_id, b.event_id, b.seats, b.status, tickets_push.utc(b.created_at)
  from tickets.bookings b
  where b.user_id = (
    select case when c.sub ~ '^[0-9]{1,18}$' then c.sub::bigint end
    from (select current_setting('request.jwt.claims')::jsonb ->> 'sub') c (sub)
  )
  order by b.created_at desc, b.booking_id
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'tickets_push.is_signed_in(jsonb, text)', 'tickets_push.utc(timestamptz)',
    'tickets_push.event_seats(bigint)', 'tickets_push.my_bookings()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.callable (name, function, may_call) values
  ('event_seats', 'tickets_push.event_seats(bigint)', 'tickets_push.is_signed_in(jsonb, text)'),
  ('my_bookings', 'tickets_push.my_bookings()', 'tickets_push.is_signed_in(jsonb, text)')
on conflict on constraint callable_pkey do update
set function = excluded.function, may_call = excluded.may_call;
