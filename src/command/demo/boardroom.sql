-- The boardrooms' demo. Of rowcast the application knows besides how a booking is shown to pages.

grant usage on schema boardroom_push to boardroom_app;
grant execute on function boardroom_push.booking(boardroom.bookings, text[]),
  boardroom_push.person(boardroom.users), boardroom_push.iso(timestamptz) to boardroom_app;

-- The day on show: tomorrow. Times are UTC.
create or replace function demo.at(p_time time) returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select ((now() at time zone 'UTC')::date + 1 + p_time) at time zone 'UTC'
$$;

-- Whether a room is free at a time, but for this booking.
create or replace function demo.is_free(
  p_boardroom text,
  p_starts timestamptz,
  p_ends timestamptz,
  p_but text default ''
) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select not exists (
    select from boardroom.bookings b
    where b.boardroom_id = p_boardroom and b.status = 'confirmed' and b.booking_id <> p_but
      and b.starts_at < p_ends and b.ends_at > p_starts
  )
$$;

-- Meetings for the day on show, unless it has some already.
create or replace function demo.open_day() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  with booked as (
    insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
    select m.room, m.organizer, m.title, demo.at(m.starts), demo.at(m.ends)
    from (values
      ('atlantic', 'eve', 'Budget', time '09:00', time '10:30'),
      ('baltic', 'max', 'Interviews', '10:00', '12:00'),
      ('atlantic', 'max', 'Design review', '13:00', '14:00'),
      ('caspian', 'lou', 'All hands', '15:00', '16:00')
    ) m (room, organizer, title, starts, ends)
    where not exists (select from boardroom.bookings b where b.starts_at >= demo.at('00:00'))
    returning booking_id, organizer_id
  )
  insert into boardroom.attendees (booking_id, user_id)
  select b.booking_id, u.user_id
  from booked b join boardroom.users u on u.user_id <> b.organizer_id and u.role = 'user'
$$;

insert into boardroom.users (user_id, name, email, role) values
  ('eve', 'Eve Stone', 'eve@example.com', 'user'),
  ('max', 'Max Brandt', 'max@example.com', 'user'),
  ('lou', 'Lou Petit', 'lou@example.com', 'user'),
  ('ravi', 'Ravi Nair', 'ravi@example.com', 'admin');
insert into boardroom.boardrooms (boardroom_id, name, location, capacity) values
  ('atlantic', 'Atlantic', '1st floor', 12), ('baltic', 'Baltic', '2nd floor', 6),
  ('caspian', 'Caspian', 'Roof', 20);
select demo.open_day();

-- The sign on show hangs at the Atlantic's door.
create or replace function demo.state() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'bookmark', rowcast.bookmark(),
    'day', to_char(demo.at('00:00') at time zone 'UTC', 'YYYY-MM-DD'),
    'door', 'atlantic',
    'boardrooms', (
      select coalesce(json_agg(json_build_object('_id', r.boardroom_id, 'name', r.name,
        'location', r.location, 'capacity', r.capacity) order by r.name), '[]')
      from boardroom.boardrooms r
    ),
    'bookings', (
      select coalesce(json_agg(boardroom_push.booking(b, array(
        select a.user_id from boardroom.attendees a where a.booking_id = b.booking_id
      )) order by b.starts_at, b.booking_id), '[]')
      from boardroom.bookings b
      where b.status = 'confirmed' and b.starts_at >= demo.at('00:00')
        and b.starts_at < demo.at('00:00') + interval '1 day'
    ),
    'statements', demo.statements()
  )
$$;

-- Eve looks at the calendar; the sign at the door was signed in by an admin.
create or replace function demo.sign_in(p_view text) returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  delete from boardroom.sessions s where s.expires_at < now();
  with made as (
    select replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') as secret,
      case p_view when 'calendar' then 'eve' when 'door' then 'ravi' end as user_id
  ),
  kept as (
    insert into boardroom.sessions (secret_hash, user_id, expires_at)
    select sha256(convert_to(m.secret, 'UTF8')), m.user_id, now() + interval '10 minutes'
    from made m where m.user_id is not null
  )
  select m.secret from made m where m.user_id is not null
$$;

insert into demo.statement (number, title, sql) values
(1, 'Max books the first free hour, with Eve', $sql$with booked as (
  insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
  select r.boardroom_id, 'max', 'Retrospective', t.starts_at, t.starts_at + interval '1 hour'
  from generate_series(demo.at('08:00'), demo.at('18:00'), interval '30 minutes') t (starts_at)
  cross join boardroom.boardrooms r
  where demo.is_free(r.boardroom_id, t.starts_at, t.starts_at + interval '1 hour')
  order by t.starts_at, r.name limit 1
  returning booking_id
)
insert into boardroom.attendees (booking_id, user_id)
select booking_id, 'eve' from booked$sql$),
(2, 'A meeting leaves the Atlantic, or comes back', $sql$update boardroom.bookings
set boardroom_id = case boardroom_id when 'atlantic' then 'baltic' else 'atlantic' end,
  updated_at = now()
where booking_id = (
  select b.booking_id from boardroom.bookings b
  where b.status = 'confirmed' and b.starts_at >= demo.at('00:00') and b.boardroom_id <> 'caspian'
    and demo.is_free(case b.boardroom_id when 'atlantic' then 'baltic' else 'atlantic' end,
      b.starts_at, b.ends_at)
  order by b.updated_at, b.booking_id limit 1)$sql$),
(3, 'The next meeting that can begins half an hour later', $sql$update boardroom.bookings
set starts_at = starts_at + interval '30 minutes', ends_at = ends_at + interval '30 minutes',
  updated_at = now()
where booking_id = (
  select b.booking_id from boardroom.bookings b
  where b.status = 'confirmed' and b.starts_at >= demo.at('00:00') and b.ends_at < demo.at('19:00')
    and demo.is_free(b.boardroom_id, b.starts_at, b.ends_at + interval '30 minutes', b.booking_id)
  order by b.updated_at, b.booking_id limit 1)$sql$),
(4, 'Lou is invited to the first meeting, or no more', $sql$with meeting as (
  select booking_id from boardroom.bookings
  where status = 'confirmed' and starts_at >= demo.at('00:00') and organizer_id <> 'lou'
  order by starts_at, booking_id limit 1
), gone as (
  delete from boardroom.attendees
  where user_id = 'lou' and booking_id in (select booking_id from meeting)
  returning booking_id
)
insert into boardroom.attendees (booking_id, user_id)
select booking_id, 'lou' from meeting where not exists (select from gone)$sql$),
(5, 'Somebody cancels their last meeting', $sql$update boardroom.bookings
set status = 'cancelled', cancelled_by = organizer_id, updated_at = now()
where booking_id = (
  select b.booking_id from boardroom.bookings b
  where b.status = 'confirmed' and b.starts_at >= demo.at('00:00')
  order by b.starts_at desc, b.booking_id limit 1)$sql$),
(6, 'What was cancelled last takes place after all', $sql$update boardroom.bookings
set status = 'confirmed', cancelled_by = null, updated_at = now()
where booking_id = (
  select b.booking_id from boardroom.bookings b
  where b.status = 'cancelled' and b.starts_at >= demo.at('00:00')
    and demo.is_free(b.boardroom_id, b.starts_at, b.ends_at)
  order by b.updated_at desc, b.booking_id limit 1)$sql$),
(7, 'An admin deletes the latest booking', $sql$delete from boardroom.bookings
where booking_id = (
  select b.booking_id from boardroom.bookings b
  where b.starts_at >= demo.at('00:00')
  order by b.created_at desc, b.booking_id desc limit 1)$sql$);

-- Three to eight meetings stay in the day on show.
create or replace function demo.writer_step() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dice double precision := random();
  v_meetings bigint;
  v_starts timestamptz := demo.at(make_time(8 + floor(random() * 10)::integer, 0, 0));
  v_room text;
  v_booking text;
begin
  if random() > 0.5 then
    return;  -- Meetings move less often than the demo's clock ticks.
  end if;
  select count(*) into v_meetings from boardroom.bookings b
  where b.status = 'confirmed' and b.starts_at >= demo.at('00:00');
  select b.booking_id into v_booking from boardroom.bookings b
  where b.status = 'confirmed' and b.starts_at >= demo.at('00:00') order by random() limit 1;
  select r.boardroom_id into v_room from boardroom.boardrooms r
  where demo.is_free(r.boardroom_id, v_starts, v_starts + interval '1 hour', v_booking)
  order by random() limit 1;

  if v_dice < 0.05 or v_meetings = 0 then
    delete from boardroom.bookings b where b.ends_at < now() - interval '7 days' or
      (b.status = 'cancelled' and b.updated_at < now() - interval '10 minutes');
    perform demo.open_day();
  elsif v_dice < 0.55 - 0.05 * v_meetings and v_room is not null then
    insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
    values (v_room, (array['eve', 'max', 'lou'])[1 + floor(random() * 3)::integer],
      (array['Planning', 'Sales call', 'One to one', 'Workshop'])[1 + floor(random() * 4)::integer],
      v_starts, v_starts + interval '1 hour');
  elsif v_dice < 0.65 and v_meetings > 3 then
    update boardroom.bookings b set status = 'cancelled', cancelled_by = b.organizer_id,
      updated_at = now()
    where b.booking_id = v_booking;
  elsif v_dice < 0.80 and v_room is not null then
    update boardroom.bookings b set boardroom_id = v_room, starts_at = v_starts,
      ends_at = v_starts + interval '1 hour', updated_at = now()
    where b.booking_id = v_booking;
  elsif v_dice < 0.90 then
    insert into boardroom.attendees (booking_id, user_id) values (v_booking, 'max')
    on conflict on constraint attendees_pkey do nothing;
  end if;
end
$$;
