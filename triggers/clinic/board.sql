-- The line as everybody is told of it: places counted from 1, who is called next, and the wait that
-- goes with a place.

-- Minutes until whoever stands at this place is called.
create or replace function clinic_push.wait(p_position bigint) returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p_position * coalesce((select s.minutes_between_calls from clinic.settings s), 3)
$$;

create or replace function clinic_push.line()
returns table (visit_id bigint, patient_id text, "position" bigint, estimated_wait bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p.visit_id, p.patient_id, p.position, p.position * m.minutes
  from (
    select q.visit_id, q.patient_id,
      row_number() over (order by q.checked_in_at, q.visit_id) as position
    from clinic.queue q
    where q.status = 'waiting'
  ) p
  cross join (select clinic_push.wait(1)) m (minutes)
$$;

-- The complete queue as staff see it: who has been called, then the line.
create or replace function clinic_push.complete_queue() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(json_agg(json_build_object('id', q.visit_id, 'patientId', q.patient_id,
    'name', p.name, 'phone', p.phone, 'status', q.status, 'position', l.position,
    'estimatedWait', l.estimated_wait, 'checkInTime', clinic_push.iso(q.checked_in_at),
    'calledAt', clinic_push.iso(q.called_at), 'room', q.room
  ) order by l.position nulls first, q.called_at, q.visit_id), '[]')
  from clinic.queue q
  join clinic.patients p on p.patient_id = q.patient_id
  left join clinic_push.line() l on l.visit_id = q.visit_id
  where q.status in ('waiting', 'called')
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'clinic_push.wait(bigint)', 'clinic_push.line()', 'clinic_push.complete_queue()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;
comment on function clinic_push.line() is 'Who is waiting, with place and minutes to wait.';
