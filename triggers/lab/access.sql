-- Who may hear what. A room is joined if the rule with the longest fitting pattern says yes to the
-- caller's claims: sub (user id), role (user, admin, super_admin) and org (organization). No rule,
-- no entry. Super admins may join every room.

create or replace function lab_push.has_role(p_claims jsonb, p_roles text[]) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '' and p_claims ->> 'role' = any (p_roles), false)
$$;

-- user:{userId}: the user.
create or replace function lab_push.may_join_user(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '' and p_room = 'user:' || (p_claims ->> 'sub'), false)
    or lab_push.has_role(p_claims, array['super_admin'])
$$;

-- lab:{labId}: everybody who is signed in, if there is such a lab.
create or replace function lab_push.may_join_lab(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false) and case
    when p_room ~ '^lab:[1-9][0-9]{0,17}$'
      then exists (select from lab.labs l where l.lab_id = substr(p_room, 5)::bigint)
    else false
  end
$$;

-- admin:all: every admin.
create or replace function lab_push.may_join_admin(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select lab_push.has_role(p_claims, array['admin', 'super_admin'])
$$;

-- admin:org:{orgId}: the organization's own admins.
create or replace function lab_push.may_join_organization(p_claims jsonb, p_room text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select lab_push.has_role(p_claims, array['super_admin'])
    or (lab_push.has_role(p_claims, array['admin'])
      and coalesce(p_room = 'admin:org:' || (p_claims ->> 'org'), false))
$$;

-- super-admin: super admins only.
create or replace function lab_push.may_join_super_admin(p_claims jsonb, p_room text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select lab_push.has_role(p_claims, array['super_admin'])
$$;

-- The rooms somebody is in from the start, without asking: all that they may see, for the front end
-- never asks. A lab that is new is heard after the next connect.
create or replace function lab_push.home_rooms(p_claims jsonb) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select 'user:' || (p_claims ->> 'sub') where p_claims ->> 'sub' <> ''
    union all
    select 'admin:all' where lab_push.has_role(p_claims, array['admin', 'super_admin'])
    union all
    select 'admin:org:' || (p_claims ->> 'org')
    where lab_push.has_role(p_claims, array['admin']) and p_claims ->> 'org' <> ''
    union all
    select 'super-admin' where lab_push.has_role(p_claims, array['super_admin'])
    union all
    select 'admin:org:' || o.org_id from lab.organizations o
    where lab_push.has_role(p_claims, array['super_admin'])
    union all
    select 'lab:' || l.lab_id from lab.labs l where p_claims ->> 'sub' <> ''
  )
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'lab_push.has_role(jsonb, text[])', 'lab_push.may_join_user(jsonb, text)',
    'lab_push.may_join_lab(jsonb, text)', 'lab_push.may_join_admin(jsonb, text)',
    'lab_push.may_join_organization(jsonb, text)', 'lab_push.may_join_super_admin(jsonb, text)',
    'lab_push.home_rooms(jsonb)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.room_rule (pattern, may_join) values
  ('user:*', 'lab_push.may_join_user(jsonb, text)'),
  ('lab:*', 'lab_push.may_join_lab(jsonb, text)'),
  ('admin:all', 'lab_push.may_join_admin(jsonb, text)'),
  ('admin:org:*', 'lab_push.may_join_organization(jsonb, text)'),
  ('super-admin', 'lab_push.may_join_super_admin(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;

insert into rowcast.home_rule (rooms_of) values ('lab_push.home_rooms(jsonb)')
on conflict on constraint home_rule_pkey do nothing;
