-- Refuses a query that rowcast_owner, as whom it will run, may not run: what it reads and calls.
-- Asks the view that rowcast.check_query has made.

create or replace function rowcast.check_rights(p_table regclass, p_operation text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  select string_agg(distinct d.refobjid::regclass::text, ', ') into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass
  join pg_class c on c.oid = d.refobjid
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and c.relpersistence <> 't'
    and not (
      has_any_column_privilege('rowcast_owner', c.oid, 'select')
      and has_schema_privilege('rowcast_owner', c.relnamespace, 'usage')
    );
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not read %s, which the query for %s on %s reads',
        v_wrong, p_operation, p_table),
      hint = 'Grant usage on the schema and select on the table to rowcast_owner.';
  end if;

  -- No error to PostgreSQL: the query would find nothing, and nobody would know why.
  select min(c.oid::regclass::text) into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass
  join pg_class c on c.oid = d.refobjid
  join pg_roles o on o.rolname = 'rowcast_owner'
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and c.relrowsecurity and not o.rolbypassrls
    and (c.relforcerowsecurity or not pg_has_role(o.oid, c.relowner, 'usage'))
    and not exists (
      select from pg_policy p cross join lateral unnest(p.polroles) m (role)
      where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
        and (m.role = 0 or pg_has_role(o.oid, m.role, 'usage'))
    );
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('no policy lets rowcast_owner see %s, which the query for %s on %s reads',
        v_wrong, p_operation, p_table),
      hint = format('create policy rowcast on %s for select to rowcast_owner using (true);',
        v_wrong);
  end if;

  select string_agg(distinct d.refobjid::regprocedure::text, ', ') into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_proc'::regclass
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and not has_function_privilege('rowcast_owner', d.refobjid, 'execute');
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not call %s, which the query for %s on %s calls',
        v_wrong, p_operation, p_table),
      hint = 'Grant execute on the function to rowcast_owner.';
  end if;
end
$$;
revoke all on function rowcast.check_rights(regclass, text) from public;
comment on function rowcast.check_rights(regclass, text) is
  'Refuses a query over what rowcast_owner may not read or call; SQLSTATE RC004.';
