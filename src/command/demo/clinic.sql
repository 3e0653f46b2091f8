-- The clinic's demo.

-- Patient ada is the visitor; at first two have been called, and she is sixth in line.
insert into clinic.staff (staff_id, name) values ('front-desk', 'The front desk');
insert into clinic.patients (patient_id, name, phone)
select lower(n.name), n.name, '555-01' || lpad(n.number::text, 2, '0')
from unnest(array[
  'Ada', 'Ben', 'Chloe', 'Dmitri', 'Elena', 'Farid', 'Grace', 'Hugo', 'Ines', 'Jonas', 'Keiko',
  'Liam', 'Mina', 'Noah', 'Olga', 'Paulo', 'Quinn', 'Rosa', 'Samir', 'Tilda', 'Umar', 'Vera',
  'Wanda', 'Xavier', 'Yusuf', 'Zoe', 'Anton', 'Bella', 'Carlos', 'Daria', 'Emil', 'Fatima',
  'Goran', 'Hana', 'Igor', 'Julia', 'Karim', 'Lena', 'Marco', 'Nadia'
]) with ordinality n (name, number);
insert into clinic.queue (patient_id, status, checked_in_at, called_at, room)
select lower(n.name), case when n.number <= 2 then 'called' else 'waiting' end,
  now() - make_interval(mins => 40 - 4 * n.number::integer),
  case when n.number <= 2 then now() - interval '3 minutes' end,
  case when n.number <= 2 then 'Room ' || n.number end
from unnest(array['Ben', 'Chloe', 'Dmitri', 'Elena', 'Farid', 'Grace', 'Hugo', 'Ada', 'Ines'])
  with ordinality n (name, number);

create or replace function demo.iso(p_time timestamptz) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create or replace function demo.state() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with present as (
    select q.*, p.name, p.phone, s.minutes_between_calls as minutes, case
      when q.status = 'waiting' then count(*) filter (where q.status = 'waiting') over (
        order by q.checked_in_at, q.visit_id
      )
    end as position
    from clinic.queue q
    join clinic.patients p on p.patient_id = q.patient_id
    cross join clinic.settings s
    where q.status in ('waiting', 'called')
  )
  select json_build_object(
    'bookmark', rowcast.bookmark(),
    'me', json_build_object('patientId', 'ada', 'name', 'Ada'),
    'staff', json_build_object('staffId', 'front-desk'),
    'visit', (
      select json_build_object('status', p.status, 'position', p.position,
        'estimatedWait', p.position * p.minutes, 'checkInTime', demo.iso(p.checked_in_at),
        'calledAt', demo.iso(p.called_at), 'room', p.room)
      from present p where p.patient_id = 'ada'
    ),
    'line', (
      select json_build_object('waiting', l.waiting,
        'estimatedWait', (l.waiting + 1) * s.minutes_between_calls)
      from clinic.settings s
      cross join (select count(*) from present p where p.status = 'waiting') l (waiting)
    ),
    'queue', (
      select coalesce(json_agg(json_build_object('id', p.visit_id, 'patientId', p.patient_id,
        'name', p.name, 'phone', p.phone, 'status', p.status, 'position', p.position,
        'estimatedWait', p.position * p.minutes, 'checkInTime', demo.iso(p.checked_in_at),
        'calledAt', demo.iso(p.called_at), 'room', p.room
      ) order by p.position nulls first, p.called_at, p.visit_id), '[]')
      from present p
    ),
    'statements', demo.statements()
  )
$$;

create or replace function demo.sign_in(p_view text) returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  delete from clinic.sessions s where s.ends_at < now();
  insert into clinic.sessions (patient_id, staff_id, ends_at)
  select case p_view when 'patient' then 'ada' end, case p_view when 'staff' then 'front-desk' end,
    now() + interval '10 minutes'
  where p_view in ('patient', 'staff')
  returning session_id
$$;

insert into demo.statement (number, title, sql) values
(1, 'Somebody checks in, Ada first if she is not there', $sql$insert into clinic.queue (patient_id)
select p.patient_id
from clinic.patients p
where not exists (select from clinic.queue q
  where q.patient_id = p.patient_id and q.status in ('waiting', 'called'))
order by p.patient_id = 'ada' desc, random() limit 1$sql$),
(2, 'Call the next patient', $sql$update clinic.queue
set status = 'called', called_at = now(), room = 'Room ' || (1 + visit_id % 3)
where visit_id = (select visit_id from clinic.queue
  where status = 'waiting'
  order by checked_in_at, visit_id limit 1 for update skip locked)$sql$),
(3, 'Whoever was called first is done', $sql$update clinic.queue
set status = 'completed', ended_at = now()
where visit_id = (select visit_id from clinic.queue
  where status = 'called' order by called_at, visit_id limit 1)$sql$),
(4, 'The first in line goes home', $sql$update clinic.queue
set status = 'cancelled', ended_at = now()
where visit_id = (select visit_id from clinic.queue
  where status = 'waiting' order by checked_in_at, visit_id limit 1)$sql$),
(5, 'Four before Ada do not appear, by one statement', $sql$update clinic.queue
set status = 'no_show', ended_at = now()
where visit_id in (
  select q.visit_id
  from clinic.queue q
  join clinic.queue ada on ada.patient_id = 'ada' and ada.status = 'waiting'
  where q.status = 'waiting'
    and (q.checked_in_at, q.visit_id) < (ada.checked_in_at, ada.visit_id)
  order by q.checked_in_at, q.visit_id limit 4)$sql$),
(6, 'Ten check in by one statement', $sql$insert into clinic.queue (patient_id)
select p.patient_id
from clinic.patients p
where p.patient_id <> 'ada' and not exists (select from clinic.queue q
  where q.patient_id = p.patient_id and q.status in ('waiting', 'called'))
order by random() limit 10$sql$),
(7, 'Announce something to all patients', $sql$insert into clinic.announcements (message)
values ('Dr Hay is back from an emergency: thank you for waiting')$sql$),
(8, 'Alert the staff', $sql$insert into clinic.alerts (message, severity)
values ('The label printer is out of paper', 'warning')$sql$),
(9, 'Calls take five minutes instead of three (again: back)', $sql$update clinic.settings
set minutes_between_calls = 8 - minutes_between_calls$sql$);

-- The line is kept at some six to twelve, and Ada comes back when she has been seen.
create or replace function demo.writer_step() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dice double precision := random();
  v_waiting bigint;
  v_called bigint;
begin
  select count(*) filter (where q.status = 'waiting'), count(*) filter (where q.status = 'called')
  into v_waiting, v_called
  from clinic.queue q where q.status in ('waiting', 'called');

  if v_dice < 0.03 then
    -- What ended is deleted but for the latest, so that a demo may run for weeks.
    delete from clinic.queue q where q.status not in ('waiting', 'called')
      and q.ended_at < now() - interval '10 minutes';
    delete from clinic.announcements a where a.created_at < now() - interval '1 hour';
    delete from clinic.alerts a where a.created_at < now() - interval '1 hour';
  elsif v_dice < 0.20 + 0.05 * (9 - v_waiting) then
    insert into clinic.queue (patient_id)
    select p.patient_id
    from clinic.patients p
    where not exists (
      select from clinic.queue q
      where q.patient_id = p.patient_id and q.status in ('waiting', 'called')
    )
    order by p.patient_id = 'ada' desc, random() limit 1;
  elsif v_called >= 3 or (v_dice > 0.80 and v_called > 0) then
    update clinic.queue q
    set ended_at = now(), status = case
      when v_dice > 0.97 and q.patient_id <> 'ada' then 'no_show' else 'completed'
    end
    where q.visit_id = (select c.visit_id from clinic.queue c
      where c.status = 'called' order by c.called_at, c.visit_id limit 1);
  elsif v_waiting > 0 and v_dice < 0.70 then
    update clinic.queue q
    set status = 'called', called_at = now(), room = 'Room ' || (1 + q.visit_id % 3)
    where q.visit_id = (select w.visit_id from clinic.queue w
      where w.status = 'waiting' order by w.checked_in_at, w.visit_id limit 1);
  end if;
end
$$;
