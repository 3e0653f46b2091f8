-- Refuses a query that rowcast_owner, as whom it will run, may not run: what it reads and calls. Asks the
-- view that rowcast.check_query has made.

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
