-- What pages ask for (rowcast's calls): staff the complete queue, a patient its own visit. Each
-- answers with the place in history that it is true at; what happens from there on comes as events.

create or replace function clinic_push.claims() returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create or replace function clinic_push.is_staff(p_claims jsonb, p_name text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '' and p_claims ->> 'role' = 'staff', false)
$$;

create or replace function clinic_push.is_patient(p_claims jsonb, p_name text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '' and p_claims ->> 'role' = 'patient', false)
$$;

-- The same as the event: staff may ask for it when they open their board.
create or replace function clinic_push.queue_now() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object('type', 'queue_refresh', 'timestamp', clinic_push.iso(now()),
    'data', clinic_push.complete_queue())
$$;

-- The patient's present visit, or null; position and estimatedWait are null unless it is waiting.
create or replace function clinic_push.my_visit() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object('status', q.status, 'position', l.position,
    'estimatedWait', l.estimated_wait, 'checkInTime', clinic_push.iso(q.checked_in_at),
    'calledAt', clinic_push.iso(q.called_at), 'room', q.room)
  from clinic.queue q
  left join clinic_push.line() l on l.visit_id = q.visit_id
  where q.patient_id = clinic_push.claims() ->> 'sub' and q.status in ('waiting', 'called')
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'clinic_push.claims()', 'clinic_push.is_staff(jsonb, text)',
    'clinic_push.is_patient(jsonb, text)', 'clinic_push.queue_now()', 'clinic_push.my_visit()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.callable (name, function, may_call) values
  ('queue_refresh', 'clinic_push.queue_now()', 'clinic_push.is_staff(jsonb, text)'),
  ('my_visit', 'clinic_push.my_visit()', 'clinic_push.is_patient(jsonb, text)')
on conflict on constraint callable_pkey do update
set function = excluded.function, may_call = excluded.may_call;
