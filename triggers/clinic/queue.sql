-- What the queue tells: new_patient to staff when somebody checks in, patient_called to the one who
-- is called, and at every change queue_update to patients and staff and queue_refresh to staff.
-- What depends on the whole line is not counted here, where a concurrent check-in can't be seen:
-- those events name a function that looks when they are read, and of many at once one is sent. So
-- does patient_called: the room may be written later in the same transaction, or the call undone.
-- position_update and get_ready are told at commit: queue_positions.sql.

-- new_patient, with the place where the patient still waits. Key {"visitId"}.
create or replace function clinic_push.new_patient(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('type', 'new_patient', 'patient', json_build_object(
    'id', q.patient_id, 'name', p.name, 'phone', p.phone, 'position', l.position,
    'estimatedWait', l.estimated_wait, 'checkInTime', clinic_push.iso(q.checked_in_at)
  ), 'timestamp', k.key ->> 'timestamp')
  from unnest(p_keys) k (key)
  join clinic.queue q on q.visit_id = (k.key ->> 'visitId')::bigint
  join clinic.patients p on p.patient_id = q.patient_id
  left join clinic_push.line() l on l.visit_id = q.visit_id
$$;

-- patient_called, with the room as it is by then; nothing for who is not called any more. Key
-- {"visitId","patientId"}.
create or replace function clinic_push.patient_called(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('type', 'patient_called',
    'message', 'It is your turn' || coalesce(': ' || q.room, '') || '.', 'room', q.room,
    'timestamp', clinic_push.iso(now()))
  from unnest(p_keys) k (key)
  join clinic.queue q on q.visit_id = (k.key ->> 'visitId')::bigint
    and q.patient_id = k.key ->> 'patientId' and q.status = 'called'
$$;

-- How the line is, without a word of who is in it: patients hear this. estimatedWait is for
-- somebody who would check in now.
create or replace function clinic_push.queue_update(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('type', 'queue_update', 'waiting', l.waiting,
    'estimatedWait', clinic_push.wait(l.waiting + 1), 'timestamp', clinic_push.iso(now()))
  from unnest(p_keys) k (key)
  cross join (select count(*) from clinic_push.line()) l (waiting)
$$;

create or replace function clinic_push.queue_refresh(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('type', 'queue_refresh', 'timestamp', clinic_push.iso(now()),
    'data', clinic_push.complete_queue())
  from unnest(p_keys) k (key)
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'clinic_push.new_patient(jsonb[])', 'clinic_push.patient_called(jsonb[])',
    'clinic_push.queue_update(jsonb[])', 'clinic_push.queue_refresh(jsonb[])'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

select rowcast.attach('clinic.queue', 'insert', $$
  select
    'new_patient' as name,
    array['staff'] as rooms,
    json_build_object('visitId', n.visit_id,
      'timestamp', clinic_push.iso(statement_timestamp())) as data,
    'clinic_push.new_patient' as render
  from new_rows n
  where n.status = 'waiting'
  union all
  select
    'patient_called', array['patient_' || n.patient_id],
    json_build_object('visitId', n.visit_id, 'patientId', n.patient_id),
    'clinic_push.patient_called'
  from new_rows n
  where n.status = 'called'
  union all
  select t.name, t.rooms, '{}', t.render
  from (values
    ('queue_update', array['patients', 'staff'], 'clinic_push.queue_update'),
    ('queue_refresh', array['staff'], 'clinic_push.queue_refresh')
  ) t (name, rooms, render)
  where exists (select from new_rows n where n.status in ('waiting', 'called'))
$$);

-- A visit that was given another number or patient is an old one that ended (there is no n) and a
-- new one that began (there is no o). Who is called once more, because called_at moves on, or to
-- another room, is told again.
select rowcast.attach('clinic.queue', 'update', $$
  with pair as (
    select o, n
    from old_rows o
    full join new_rows n on n.visit_id = o.visit_id and n.patient_id = o.patient_id
  )
  select
    'new_patient' as name,
    array['staff'] as rooms,
    json_build_object('visitId', (n).visit_id,
      'timestamp', clinic_push.iso(statement_timestamp())) as data,
    'clinic_push.new_patient' as render
  from pair
  where (n).status = 'waiting' and coalesce((o).status, '') not in ('waiting', 'called')
  union all
  select
    'patient_called', array['patient_' || (n).patient_id],
    json_build_object('visitId', (n).visit_id, 'patientId', (n).patient_id),
    'clinic_push.patient_called'
  from pair
  where (n).status = 'called'
    and ((o).status, (o).called_at, (o).room)
      is distinct from ((n).status, (n).called_at, (n).room)
  union all
  select t.name, t.rooms, '{}', t.render
  from (values
    ('queue_update', array['patients', 'staff'], 'clinic_push.queue_update'),
    ('queue_refresh', array['staff'], 'clinic_push.queue_refresh')
  ) t (name, rooms, render)
  where exists (
    select from pair
    where ('waiting' in ((o).status, (n).status) or 'called' in ((o).status, (n).status))
      and ((o).status, (o).checked_in_at, (o).called_at, (o).room) is distinct from
        ((n).status, (n).checked_in_at, (n).called_at, (n).room)
  )
$$);

-- A visit that is over and deleted is housekeeping: nobody is told.
select rowcast.attach('clinic.queue', 'delete', $$
  select t.name as name, t.rooms as rooms, '{}'::json as data, t.render as render
  from (values
    ('queue_update', array['patients', 'staff'], 'clinic_push.queue_update'),
    ('queue_refresh', array['staff'], 'clinic_push.queue_refresh')
  ) t (name, rooms, render)
  where exists (select from old_rows o where o.status in ('waiting', 'called'))
$$);

select rowcast.attach('clinic.queue', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'clinic.queue') as data
$$);
