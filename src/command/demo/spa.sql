-- The spa's demo. Of rowcast the application knows besides what its events would hold.

grant usage on schema spa_push to spa_app;
grant execute on function spa_push.booking_as(text, spa.bookings),
  spa_push.schedule_as(text, integer, date), spa_push.availability(integer, integer, date),
  spa_push.payment_state(jsonb[]) to spa_app;

-- The day on show: tomorrow, in UTC.
create or replace function demo.day() returns date
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select (now() at time zone 'UTC')::date + 1
$$;

-- Lena and Omar work every day, with a break at one, unless the day is there already.
create or replace function demo.open_days() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into spa.therapist_schedules (therapist_user_id, work_date, start_time, end_time)
  select t.user_id, demo.day() + d, h.starts, h.ends
  from spa.therapists t
  cross join generate_series(0, 6) d
  cross join (values ('09:00'::time, '13:00'::time), ('14:00', '19:00')) h (starts, ends)
  where not exists (
    select from spa.therapist_schedules s
    where s.therapist_user_id = t.user_id and s.work_date = demo.day() + d
  )
$$;

-- What customers have paid for and not booked yet.
create or replace function demo.unused_items()
returns table (payment_item_id integer, customer_id integer, service_id integer, minutes integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select i.payment_item_id, p.customer_id, i.service_id, i.service_duration
  from spa.payment_items i
  join spa.payments p on p.payment_id = i.payment_id and p.payment_status = 'PAID'
  where i.quantity > (
    select count(*) from spa.bookings b
    where b.payment_item_id = i.payment_item_id and b.booking_status <> 'CANCELLED'
  )
$$;

-- Each half hour of the day on show at which somebody could begin with a service.
create or replace function demo.free_times(p_service integer)
returns table (therapist_user_id integer, starts_at time)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select s.therapist_user_id, t.starts_at::time
  from spa.services v
  join spa.therapist_services o on o.service_id = v.service_id
  join spa.therapist_schedules s on s.therapist_user_id = o.therapist_user_id
    and s.work_date = demo.day()
  cross join lateral generate_series(demo.day() + s.start_time,
    demo.day() + s.end_time - make_interval(mins => v.duration_minutes), '30 minutes'
  ) t (starts_at)
  where v.service_id = p_service and not exists (
    select from spa.bookings b
    where b.therapist_user_id = s.therapist_user_id and b.appointment_date = demo.day()
      and b.booking_status not in ('CANCELLED', 'NO_SHOW')
      and b.appointment_date + b.appointment_time
        < t.starts_at + make_interval(mins => v.duration_minutes)
      and b.appointment_date + b.appointment_time + make_interval(mins => b.duration_minutes)
        > t.starts_at
  )
$$;

-- The application's two steps: payment first, then scheduling.
create or replace function demo.pay(p_customer integer, p_service integer) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  with paid as (
    insert into spa.payments (customer_id, total_amount, payment_method, reference_number)
    select p_customer, s.price, (array['ONLINE', 'CREDIT_CARD', 'CASH'])[1 + p_customer % 3],
      'R-' || to_char(now(), 'YYMMDD-HH24MISS')
    from spa.services s where s.service_id = p_service
    returning payment_id
  )
  insert into spa.payment_items
    (payment_id, service_id, quantity, unit_price, total_price, service_duration)
  select p.payment_id, s.service_id, 1, s.price, s.price, s.duration_minutes
  from paid p
  cross join spa.services s
  where s.service_id = p_service
$$;

create or replace function demo.book(p_item integer, p_notes text default null) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into spa.bookings (customer_id, payment_item_id, service_id, therapist_user_id,
    appointment_date, appointment_time, duration_minutes, booking_notes)
  select i.customer_id, i.payment_item_id, i.service_id, f.therapist_user_id, demo.day(),
    f.starts_at, i.minutes, p_notes
  from demo.unused_items() i
  cross join lateral demo.free_times(i.service_id) f
  where i.payment_item_id = p_item
  order by random() limit 1
$$;

-- Mia, customer 1, is the visitor: one massage is booked with Lena, another paid for and not booked
-- yet.
do $$
declare
  v_item integer;
begin
  insert into spa.users (full_name, phone_number)
  select n.name, '555-01' || lpad(n.number::text, 2, '0')
  from unnest(array['Mia Duarte', 'Noah Lindt', 'Zoe Park', 'Ivo Brandt', 'Ana Sousa', 'Kai Berg',
    'Ruth Adler', 'Tom Okafor', 'Elif Kaya', 'Jan Novak']) with ordinality n (name, number);
  insert into spa.users (user_type, full_name) values
    ('therapist', 'Lena Vogt'), ('therapist', 'Omar Haddad'), ('receptionist', 'Rosa Lind'),
    ('manager', 'Iris Cole');
  insert into spa.services (name, duration_minutes, price) values
    ('Deep massage', 60, 55), ('Facial', 30, 40), ('Hot stones', 90, 85);
  insert into spa.therapists (user_id)
  select u.user_id from spa.users u where u.user_type = 'therapist';
  insert into spa.therapist_services (therapist_user_id, service_id)
  select t.user_id, s.service_id from spa.therapists t cross join spa.services s;
  perform demo.open_days();
  perform demo.pay(1, 1);
  insert into spa.bookings (customer_id, payment_item_id, service_id, therapist_user_id,
    appointment_date, appointment_time, duration_minutes, booking_notes)
  select 1, i.payment_item_id, 1, u.user_id, demo.day(), '10:00', 60, 'Left shoulder'
  from demo.unused_items() i
  cross join spa.users u
  where u.full_name = 'Lena Vogt';
  -- One by one: each booking takes its time from the next.
  for v_customer in 2..7 loop
    perform demo.pay(v_customer, 1 + v_customer % 3);
    for v_item in select i.payment_item_id from demo.unused_items() i loop
      perform demo.book(v_item, case when v_customer % 3 = 1 then 'Sensitive skin' end);
    end loop;
  end loop;
  perform demo.pay(1, 1);
  update spa.bookings b set booking_status = 'CONFIRMED' where b.booking_id % 2 = 0;
end
$$;

-- Each view with what its role may see; Lena stands for the therapists.
create or replace function demo.state() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with lena as (
    select u.user_id, u.full_name from spa.users u where u.user_type = 'therapist'
    order by u.user_id limit 1
  ),
  booking as (
    select b from spa.bookings b
    where b.appointment_date = demo.day() and b.booking_status <> 'CANCELLED'
  )
  select json_build_object(
    'bookmark', rowcast.bookmark(),
    'day', demo.day(),
    'customer', (
      select json_build_object('userId', u.user_id, 'name', u.full_name, 'bookings', (
        select coalesce(json_agg(spa_push.booking_as('customer', y.b)
          order by (y.b).appointment_time, (y.b).booking_id), '[]')
        from booking y where (y.b).customer_id = u.user_id
      ))
      from spa.users u where u.user_id = 1
    ),
    'therapist', (
      select json_build_object('userId', l.user_id, 'name', l.full_name,
        'schedule', spa_push.schedule_as('therapist', l.user_id, demo.day()))
      from lena l
    ),
    'manager', json_build_object('bookings', (
      select coalesce(json_agg(spa_push.booking_as('manager', y.b)
        order by (y.b).appointment_time, (y.b).booking_id), '[]')
      from booking y
    )),
    'availability', (
      select spa_push.availability(s.service_id, l.user_id, demo.day())::jsonb
        || jsonb_build_object('serviceName', s.name, 'therapistName', l.full_name)
      from lena l cross join spa.services s where s.service_id = 1
    ),
    'payments', (
      select coalesce(json_agg(p.data order by (p.key ->> 'paymentId')::integer desc), '[]')
      from spa_push.payment_state(array(
        select jsonb_build_object('paymentId', y.payment_id, 'customerId', y.customer_id,
          'viewer', 'manager')
        from spa.payments y where y.payment_status in ('PAID', 'REFUNDED')
      )) p
    ),
    'statements', demo.statements()
  )
$$;

create or replace function demo.sign_in(p_view text) returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  delete from spa.http_sessions s
  where s.last_accessed_at + make_interval(secs => s.max_inactive_seconds) < now();
  insert into spa.http_sessions (session_id, user_id)
  select upper(replace(gen_random_uuid()::text, '-', '')), u.user_id
  from spa.users u
  where u.user_type = p_view and p_view in ('customer', 'therapist', 'manager')
  order by u.user_id limit 1
  returning session_id
$$;

insert into demo.statement (number, title, sql) values
(1, 'Mia pays for a massage', $sql$with paid as (
  insert into spa.payments (customer_id, total_amount, payment_method)
  values (1, 55, 'ONLINE')
  returning payment_id
)
insert into spa.payment_items
  (payment_id, service_id, unit_price, total_price, service_duration)
select payment_id, 1, 55, 55, 60 from paid$sql$),
(2, 'Mia books what she has paid for', $sql$insert into spa.bookings
  (customer_id, payment_item_id, service_id, therapist_user_id,
  appointment_date, appointment_time, duration_minutes)
select 1, i.payment_item_id, i.service_id, f.therapist_user_id,
  demo.day(), f.starts_at, i.minutes
from demo.unused_items() i
cross join lateral demo.free_times(i.service_id) f
where i.customer_id = 1
order by f.therapist_user_id, random() limit 1$sql$),
(3, 'Somebody books without having paid: refused', $sql$insert into spa.bookings
  (customer_id, payment_item_id, service_id, therapist_user_id,
  appointment_date, appointment_time, duration_minutes)
select 10, min(payment_item_id), 1, min(u.user_id), demo.day(), '09:00', 60
from spa.payment_items
cross join spa.users u
where u.user_type = 'therapist'$sql$),
(4, 'Mia''s next appointment takes its next step', $sql$update spa.bookings
set booking_status = case booking_status
  when 'SCHEDULED' then 'CONFIRMED'
  when 'CONFIRMED' then 'IN_PROGRESS'
  else 'COMPLETED' end
where booking_id = (select booking_id from spa.bookings
  where customer_id = 1
    and booking_status in ('SCHEDULED', 'CONFIRMED', 'IN_PROGRESS')
  order by appointment_date, appointment_time limit 1)$sql$),
(5, 'Mia cancels her latest booking', $sql$update spa.bookings
set booking_status = 'CANCELLED'
where booking_id = (select max(booking_id) from spa.bookings
  where customer_id = 1 and booking_status in ('SCHEDULED', 'CONFIRMED'))$sql$),
(6, 'Move one of Mia''s appointments', $sql$update spa.bookings b
set therapist_user_id = f.therapist_user_id, appointment_time = f.starts_at
from (
  select m.booking_id, t.therapist_user_id, t.starts_at
  from spa.bookings m
  cross join lateral demo.free_times(m.service_id) t
  where m.customer_id = 1 and m.booking_status in ('SCHEDULED', 'CONFIRMED')
  order by random() limit 1
) f
where b.booking_id = f.booking_id$sql$),
(7, 'Confirm all that is scheduled, by one statement', $sql$update spa.bookings
set booking_status = 'CONFIRMED'
where booking_status = 'SCHEDULED'$sql$),
(8, 'Lena leaves at 17:00 (again: at 19:00)', $sql$update spa.therapist_schedules s
set end_time = case end_time when '17:00' then '19:00'::time else '17:00' end
from spa.users u
where u.user_id = s.therapist_user_id and u.full_name = 'Lena Vogt'
  and s.work_date = demo.day() and s.start_time = '14:00'$sql$),
(9, 'Somebody who was expected does not come', $sql$update spa.bookings
set booking_status = 'NO_SHOW'
where booking_id = (select booking_id from spa.bookings
  where customer_id <> 1 and booking_status = 'CONFIRMED'
  order by appointment_date, appointment_time limit 1)$sql$);

-- Deletes what is over but for the latest, so that a demo may run for weeks.
create or replace function demo.tidy() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform demo.open_days();
  delete from spa.bookings b where b.appointment_date < demo.day() - 1
    or (b.booking_status = 'CANCELLED' and b.booking_id <
      (select max(m.booking_id) - 100 from spa.bookings m));
  delete from spa.payments p
  where p.payment_id < (select max(m.payment_id) - 100 from spa.payments m) and not exists (
    select from spa.payment_items i
    join spa.bookings b on b.payment_item_id = i.payment_item_id
    where i.payment_id = p.payment_id
  );
  delete from spa.therapist_schedules s where s.work_date < demo.day() - 1;
end
$$;

-- The next step of a booking of somebody other than Mia; false if there is none.
create or replace function demo.step(p_from text[], p_to text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update spa.bookings b set booking_status = p_to where b.booking_id = (
    select c.booking_id from spa.bookings c
    where c.customer_id <> 1 and c.booking_status = any (p_from)
      and c.appointment_date = demo.day()
    order by p_to = 'CANCELLED' and random() < 0.5, c.appointment_time limit 1
  );
  return found;
end
$$;

-- The day is kept at some six to ten appointments, a few of which are over.
create or replace function demo.writer_step() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dice double precision := random();
  v_live bigint;
  v_over bigint;
  v_item integer;
begin
  select count(*) filter (where b.booking_status in ('SCHEDULED', 'CONFIRMED', 'IN_PROGRESS')),
    count(*) filter (where b.booking_status in ('COMPLETED', 'NO_SHOW'))
  into v_live, v_over
  from spa.bookings b where b.appointment_date = demo.day();
  select i.payment_item_id into v_item from demo.unused_items() i
  where i.customer_id <> 1 order by random() limit 1;

  if v_dice < 0.02 then
    perform demo.tidy();
  elsif v_dice < 0.45 and v_live < 10 and v_item is null then
    perform demo.pay(2 + floor(random() * 9)::integer, 1 + floor(random() * 3)::integer);
  elsif v_dice < 0.45 and v_live < 10 then
    perform demo.book(v_item);
  elsif v_dice < 0.65 and demo.step(array['SCHEDULED'], 'CONFIRMED') then
    null;
  elsif v_dice < 0.70 and v_over < 4 and demo.step(array['CONFIRMED'], 'IN_PROGRESS') then
    null;
  elsif v_dice < 0.80 and v_over < 4 and demo.step(array['IN_PROGRESS'], 'COMPLETED') then
    null;
  elsif v_live > 5 and demo.step(array['SCHEDULED', 'CONFIRMED'], 'CANCELLED') then
    -- Whoever cancels gets the money back.
    update spa.payments p set payment_status = 'REFUNDED'
    where p.customer_id <> 1 and p.payment_status = 'PAID' and p.payment_id = (
      select i.payment_id from spa.payment_items i
      join spa.bookings b on b.payment_item_id = i.payment_item_id
      where b.booking_status = 'CANCELLED' order by b.updated_at desc, b.booking_id desc limit 1
    );
  end if;
end
$$;
