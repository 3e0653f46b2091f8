-- Who may hear what, by the claims of the application's own session: sub (patient_id or staff_id)
-- and role (patient or staff). Whose id a page names is no proof of anything: the session decides.

-- The second that a time is in, as claims have it: never a later one, or whoever is revoked while
-- it lasts would stay. A session may begin or end at infinity, which is no number.
create or replace function clinic_push.second_of(p_time timestamptz) returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select floor(extract(epoch from greatest('1970-01-01Z', least('9999-01-01Z', p_time))))::bigint
$$;

-- The claims of cookie clinic_session, or null; also of one that has ended this very second, which
-- its exp could not tell.
create or replace function clinic_push.claims_of(p_cookie text) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('sub', coalesce(s.staff_id, s.patient_id),
    'role', case when s.staff_id is null then 'patient' else 'staff' end,
    'iat', clinic_push.second_of(s.started_at), 'exp', clinic_push.second_of(s.ends_at))
  from clinic.sessions s
  where s.session_id = p_cookie and s.ends_at > now()
$$;

create or replace function clinic_push.has_role(p_claims jsonb, p_roles text[]) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '' and p_claims ->> 'role' = any (p_roles), false)
$$;

-- patient_{patientId}: that patient, and staff.
create or replace function clinic_push.may_join_patient(p_claims jsonb, p_room text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select clinic_push.has_role(p_claims, array['staff'])
    or (clinic_push.has_role(p_claims, array['patient'])
      and p_room = 'patient_' || (p_claims ->> 'sub'))
$$;

-- staff: staff.
create or replace function clinic_push.may_join_staff(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select clinic_push.has_role(p_claims, array['staff'])
$$;

-- patients: every patient, and staff.
create or replace function clinic_push.may_join_patients(p_claims jsonb, p_room text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select clinic_push.has_role(p_claims, array['patient', 'staff'])
$$;

-- The rooms somebody is in from the start, so that who comes back misses nothing.
create or replace function clinic_push.home_rooms(p_claims jsonb) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when clinic_push.has_role(p_claims, array['staff']) then array['staff']
    when clinic_push.has_role(p_claims, array['patient'])
      then array['patient_' || (p_claims ->> 'sub'), 'patients']
    else '{}'
  end
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'clinic_push.second_of(timestamptz)', 'clinic_push.claims_of(text)',
    'clinic_push.has_role(jsonb, text[])',
    'clinic_push.may_join_patient(jsonb, text)', 'clinic_push.may_join_staff(jsonb, text)',
    'clinic_push.may_join_patients(jsonb, text)', 'clinic_push.home_rooms(jsonb)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.session_rule (cookie, claims_of) values
  ('clinic_session', 'clinic_push.claims_of(text)')
on conflict on constraint session_rule_pkey do update set claims_of = excluded.claims_of;

insert into rowcast.room_rule (pattern, may_join) values
  ('patient_*', 'clinic_push.may_join_patient(jsonb, text)'),
  ('staff', 'clinic_push.may_join_staff(jsonb, text)'),
  ('patients', 'clinic_push.may_join_patients(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;

insert into rowcast.home_rule (rooms_of) values ('clinic_push.home_rooms(jsonb)')
on conflict on constraint home_rule_pkey do nothing;
