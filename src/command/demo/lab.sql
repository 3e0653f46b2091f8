-- The laboratories' demo.

insert into lab_push.role_name (role_name, user_name) values ('lab_app', 'front desk');

-- Monday of the week on show: the present one, or on a weekend the next. Times are UTC.
create or replace function demo.monday() returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select date_trunc('week', (now() at time zone 'UTC') + interval '2 days') at time zone 'UTC'
$$;

create or replace function demo.iso(p_time timestamptz) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

-- Four slots a day in every lab, unless the week on show has slots already.
create or replace function demo.open_week() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into lab.slots (lab_id, starts_at, ends_at, capacity)
  select l.lab_id, t.starts_at, t.starts_at + interval '2 hours',
    case l.lab_id when 1 then 8 when 2 then 4 else 32 end
  from lab.labs l
  cross join generate_series(0, 4) day
  cross join unnest(array[8, 10, 13, 15]) hour
  cross join lateral (
    select demo.monday() + make_interval(days => day, hours => hour)
  ) t (starts_at)
  where not exists (select from lab.slots s where s.starts_at >= demo.monday())
  order by l.lab_id, t.starts_at
$$;

-- Users live elsewhere: 1 is the visitor, 2 to 60 are the others, class-… are a school's.
insert into lab.organizations (name) values ('Institute of Physics'), ('City Makerspace');
insert into lab.labs (org_id, name) values
  (1, 'Laser lab'), (1, 'Electron microscope'), (2, 'Open workshop');
select demo.open_week();

-- The school's 500 bookings: 25 in each slot of the workshop, waiting to be confirmed.
insert into lab.bookings (user_id, slot_id, lab_id)
select 'class-' || row_number() over (), s.slot_id, s.lab_id
from lab.slots s cross join generate_series(1, 25)
where s.lab_id = 3;

-- The others: in the labs every third slot is full, the rest is filled by halves and thirds.
insert into lab.bookings (user_id, slot_id, lab_id, status)
select (2 + (s.slot_id * 11 + n) % 59)::text, s.slot_id, s.lab_id,
  case when n % 3 = 0 then 'pending' else 'confirmed' end
from lab.slots s
cross join lateral generate_series(1, case
  when s.lab_id = 3 then s.slot_id % 5
  when s.slot_id % 3 = 0 then s.capacity
  else s.capacity * (1 + s.slot_id % 4) / 5
end) n;

-- The visitor's own.
insert into lab.bookings (user_id, slot_id, lab_id, status)
select '1', s.slot_id, s.lab_id, 'confirmed'
from lab.slots s
where s.lab_id < 3 and s.slot_id % 3 <> 0 and s.slot_id % 8 = 2;

-- Lines of four or five where it is full; the visitor is third, in every fourth of them first.
insert into lab.waitlist (user_id, slot_id, joined_at)
select case when n = p.place then '1' else (2 + (s.slot_id * 5 + n * 13) % 59)::text end,
  s.slot_id, now() - make_interval(hours => 30 - n::integer)
from (
  select slot_id, row_number() over (order by slot_id) as number
  from lab.slots where lab_id < 3 and slot_id % 3 = 0
) s
cross join lateral (select case when s.number % 4 = 0 then 1 else 3 end as place) p
cross join lateral generate_series(1, 4 + s.number % 2) n
where s.number % 2 = 0 or n <> p.place;

create or replace function demo.state() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'bookmark', rowcast.bookmark(),
    'now', demo.iso(now()),
    'labs', (
      select coalesce(json_agg(json_build_object('labId', l.lab_id, 'name', l.name,
        'status', l.status, 'reason', l.status_reason, 'orgId', l.org_id) order by l.lab_id), '[]')
      from lab.labs l
    ),
    'slots', (
      select coalesce(json_agg(json_build_object('slotId', s.slot_id, 'labId', s.lab_id,
        'startsAt', demo.iso(s.starts_at), 'endsAt', demo.iso(s.ends_at), 'capacity', s.capacity,
        'availableSpots', greatest(s.capacity - b.held, 0), 'status', case
          when s.status = 'closed' then 'closed' when s.capacity <= b.held then 'full' else 'open'
        end) order by s.lab_id, s.starts_at), '[]')
      from lab.slots s
      cross join lateral (
        select count(*) as held from lab.bookings b
        where b.slot_id = s.slot_id and b.status <> 'cancelled'
      ) b
      where s.starts_at >= demo.monday() and s.starts_at < demo.monday() + interval '5 days'
    ),
    'bookings', (
      select coalesce(json_agg(json_build_object('bookingId', b.booking_id, 'userId', b.user_id,
        'slotId', b.slot_id, 'labId', b.lab_id, 'status', b.status) order by b.booking_id), '[]')
      from lab.bookings b
      where b.user_id = '1' and b.status <> 'cancelled'
    ),
    'waitlist', (
      select coalesce(json_agg(json_build_object('waitlistId', w.waitlist_id,
        'userId', w.user_id, 'slotId', w.slot_id, 'labId', s.lab_id, 'status', w.status,
        'position', (
          select count(*) from lab.waitlist a
          where a.slot_id = w.slot_id and a.status in ('waiting', 'offered')
            and (a.joined_at, a.waitlist_id) <= (w.joined_at, w.waitlist_id)
        )) order by s.starts_at), '[]')
      from lab.waitlist w
      join lab.slots s on s.slot_id = w.slot_id
      where w.user_id = '1' and w.status in ('waiting', 'offered')
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
    when 'user' then '{"sub": "1", "role": "user", "org": "1"}'::jsonb
    when 'admin' then '{"sub": "100", "role": "admin", "org": "1"}'
  end
$$;

insert into demo.statement (number, title, sql) values
(1, 'User 1 books a free slot', $sql$insert into lab.bookings (user_id, slot_id, lab_id)
select '1', s.slot_id, s.lab_id
from lab.slots s
where s.lab_id in (1, 2) and s.status = 'open' and s.starts_at >= demo.monday()
  and s.capacity > (select count(*) from lab.bookings b
    where b.slot_id = s.slot_id and b.status <> 'cancelled')
  and not exists (select from lab.bookings b
    where b.slot_id = s.slot_id and b.user_id = '1' and b.status <> 'cancelled')
order by random() limit 1$sql$),
(2, 'User 1 cancels the latest booking', $sql$update lab.bookings
set status = 'cancelled', updated_by = '1'
where booking_id = (select max(booking_id) from lab.bookings
  where user_id = '1' and status in ('pending', 'confirmed'))$sql$),
(3, 'Somebody cancels where user 1 is first in line', $sql$update lab.bookings
set status = 'cancelled'
where booking_id = (
  select b.booking_id
  from lab.bookings b
  join lab.waitlist w on w.slot_id = b.slot_id and w.user_id = '1' and w.status = 'waiting'
  where b.status in ('pending', 'confirmed') and b.user_id <> '1' and not exists (
    select from lab.waitlist a
    where a.slot_id = w.slot_id and a.status = 'waiting' and a.joined_at < w.joined_at)
  order by random() limit 1)$sql$),
(4, 'The first in a line ahead of user 1 leaves it', $sql$update lab.waitlist
set status = 'left'
where waitlist_id = (
  select a.waitlist_id
  from lab.waitlist a
  join lab.waitlist w on w.slot_id = a.slot_id and w.user_id = '1' and w.status = 'waiting'
  where a.status = 'waiting' and a.joined_at < w.joined_at
  order by a.joined_at limit 1)$sql$),
(5, 'Confirm 500 bookings at once (again: back to pending)', $sql$update lab.bookings
set status = (
  select case when bool_or(status = 'pending') then 'confirmed' else 'pending' end
  from lab.bookings where user_id like 'class-%')
where user_id like 'class-%'$sql$),
(6, 'Close the laser lab', $sql$update lab.labs
set status = 'closed', status_reason = 'The cooling has failed'
where lab_id = 1$sql$),
(7, 'Open the laser lab again', $sql$update lab.labs
set status = 'open', status_reason = null
where lab_id = 1$sql$),
(8, 'Announce something to everybody',
$sql$insert into lab.announcements (message, severity, expires_at)
values ('The building closes at 18:00 today', 'warning', now() + interval '8 hours')$sql$),
(9, 'Send user 1 a notification', $sql$insert into lab.notifications (user_id, type, message)
values ('1', 'reminder', 'Bring your safety goggles')$sql$),
(10, 'A payment of user 1 completes',
$sql$insert into lab.payments (booking_id, user_id, amount, status)
select max(booking_id), '1', 24.50, 'completed'
from lab.bookings where user_id = '1'$sql$),
(11, 'One more spot in a full slot', $sql$update lab.slots
set capacity = capacity + 1
where slot_id = (
  select s.slot_id from lab.slots s
  where s.lab_id in (1, 2) and s.capacity < 12 and s.starts_at >= demo.monday()
  order by s.capacity - (select count(*) from lab.bookings b
    where b.slot_id = s.slot_id and b.status <> 'cancelled'), random()
  limit 1)$sql$);

-- Deletes what is finished but for the latest, so that a demo may run for weeks.
create or replace function demo.tidy() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from lab.bookings b where b.status = 'cancelled' and b.booking_id <
    (select max(m.booking_id) - 400 from lab.bookings m);
  delete from lab.waitlist w where w.status not in ('waiting', 'offered') and w.waitlist_id <
    (select max(m.waitlist_id) - 200 from lab.waitlist m);
  delete from lab.payments p where p.payment_id <
    (select max(m.payment_id) - 100 from lab.payments m);
  delete from lab.notifications n where n.notification_id <
    (select max(m.notification_id) - 100 from lab.notifications m);
  delete from lab.announcements a where a.announcement_id <
    (select max(m.announcement_id) - 100 from lab.announcements m);
  delete from lab.slots s where s.ends_at < now() - interval '30 days';
  perform demo.open_week();
end
$$;

create or replace function demo.writer_step() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dice double precision := random();
  v_user text := (2 + floor(random() * 59))::text;
  v_slot lab.slots;
  v_free bigint;
  v_first lab.waitlist;
  v_line bigint;
begin
  -- A slot of the week on show, the spots left in it, and its line: who is first but for user 1.
  select s.* into v_slot from lab.slots s
  where s.starts_at >= demo.monday() and s.status = 'open' order by random() limit 1;
  if v_slot.slot_id is null or v_dice < 0.02 then
    perform demo.tidy();
    return;
  end if;
  select v_slot.capacity - count(*) into v_free from lab.bookings b
  where b.slot_id = v_slot.slot_id and b.status <> 'cancelled';
  select count(*) into v_line from lab.waitlist w
  where w.slot_id = v_slot.slot_id and w.status in ('waiting', 'offered');
  select w.* into v_first from lab.waitlist w
  where w.slot_id = v_slot.slot_id and w.status = 'waiting' and w.user_id <> '1'
  order by w.joined_at, w.waitlist_id limit 1;

  if v_dice < 0.10 and v_free > 0 and v_first.waitlist_id is not null then
    insert into lab.bookings (user_id, slot_id, lab_id)
    values (v_first.user_id, v_slot.slot_id, v_slot.lab_id);
    update lab.waitlist w set status = 'accepted' where w.waitlist_id = v_first.waitlist_id;
  elsif v_dice < 0.45 and v_free > 0 then
    insert into lab.bookings (user_id, slot_id, lab_id)
    values (v_user, v_slot.slot_id, v_slot.lab_id);
  elsif v_dice < 0.62 then
    update lab.bookings b set status = 'cancelled' where b.booking_id = (
      select c.booking_id from lab.bookings c
      where c.slot_id = v_slot.slot_id and c.status in ('pending', 'confirmed')
        and c.user_id <> '1' and c.user_id not like 'class-%'
      order by random() limit 1
    );
  elsif v_dice < 0.72 then
    update lab.bookings b set status = 'confirmed' where b.booking_id = (
      select c.booking_id from lab.bookings c
      where c.slot_id = v_slot.slot_id and c.status = 'pending' and c.user_id not like 'class-%'
      order by c.booking_id limit 1
    );
  elsif v_dice < 0.90 and v_free <= 0 and v_line < 6 then
    insert into lab.waitlist (user_id, slot_id) values (v_user, v_slot.slot_id);
  elsif v_dice < 0.92 and v_line > 3 then
    update lab.waitlist w set status = 'left' where w.waitlist_id = v_first.waitlist_id;
  elsif v_dice < 0.99 and v_line > 1 then
    -- Whoever is first, user 1 too, lets the others go ahead: the lines keep moving.
    update lab.waitlist w set joined_at = clock_timestamp() where w.waitlist_id = (
      select a.waitlist_id from lab.waitlist a
      where a.slot_id = v_slot.slot_id and a.status = 'waiting'
      order by a.joined_at, a.waitlist_id limit 1
    );
  elsif v_dice > 0.99 then
    insert into lab.notifications (user_id, type, message)
    values ('1', 'reminder', 'Your next slot is tomorrow');
  elsif v_slot.capacity > 8 and v_slot.lab_id < 3 and v_free > 0 then
    update lab.slots s set capacity = s.capacity - 1 where s.slot_id = v_slot.slot_id;
  end if;
end
$$;
