-- Gives a trigger function to rowcast_owner, and takes it from all but its members, such as the
-- caller, who creates the triggers: whoever may execute it could put it on a table of their own,
-- and forge events. Default privileges may have let them.

create or replace function rowcast.secure_function(p_function text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grantee text;
begin
  execute format('alter function %s() owner to rowcast_owner', p_function);
  for v_grantee in
    select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
    from pg_proc p
    cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where p.oid = to_regprocedure(p_function || '()')
      and (a.grantee = 0 or not pg_has_role(a.grantee, 'rowcast_owner', 'member'))
  loop
    execute format('revoke all on function %s() from %s cascade', p_function, v_grantee);
  end loop;
  if not has_function_privilege(p_function || '()', 'execute') then
    execute format('grant execute on function %s() to %I', p_function, current_user);
  end if;
end
$$;
revoke all on function rowcast.secure_function(text) from public;
comment on function rowcast.secure_function(text) is
  'Makes a trigger function rowcast_owner''s, whatever default privileges say.';
