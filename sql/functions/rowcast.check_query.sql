-- Checks a query before it becomes a trigger: that it parses with the search_path it will run
-- under, that its columns are those of an event, and that rowcast_owner may read what it reads.
-- Returns the columns it has, and `(plain)` if it does no more than pass the rows through, one by
-- one: then its plan is the same for one row and for a million. And `(set …)` for each setting of a
-- writer's session that it would change with. Runs as the caller, who has to be allowed to see the
-- table.

create or replace function rowcast.check_query(p_table regclass, p_operation text, p_query text)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
set client_min_messages = warning
set quote_all_identifiers = off
as $$
declare
  -- As it stands in the trigger: in parentheses, without the semicolon that ends a statement.
  v_query text := format(e'select * from (\n%s\n) q', regexp_replace(p_query, '[[:space:];]+$', ''));
  v_columns text[];
  v_wrong text;
  v_plan json;
begin
  if coalesce(p_query, '') !~ '[^[:space:]]' then
    raise exception using errcode = 'RC003',
      message = format('there is no query for %s on %s', p_operation, p_table),
      hint = 'Give a select that returns name text, rooms text[] and data json.';
  end if;
  select string_agg(t, ', ') into v_wrong
  from unnest(array['new_rows', 'old_rows', 'rowcast_checked']) t
  where to_regclass('pg_temp.' || t) is not null;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('this session has something temporary of its own that is called %s', v_wrong),
      hint = 'Queries are checked with temporary tables and a view of these names: drop yours, or attach in '
        'another session.';
  end if;
  if p_operation in ('insert', 'update') then
    execute format('create temporary table new_rows on commit drop as table %s with no data', p_table);
    grant select on pg_temp.new_rows to rowcast_owner;
  end if;
  if p_operation in ('update', 'delete') then
    execute format('create temporary table old_rows on commit drop as table %s with no data', p_table);
    grant select on pg_temp.old_rows to rowcast_owner;
  end if;
  begin
    execute 'create temporary view rowcast_checked as ' || v_query;
  exception
    when syntax_error then
      raise exception using errcode = 'RC003',
        message = format('the query for %s on %s does not work: %s', p_operation, p_table, sqlerrm),
        hint = 'It has to be one select that can stand in parentheses: nothing behind its end, no comment '
          'after a semicolon.';
    when others then
      raise exception using errcode = 'RC003',
        message = format('the query for %s on %s does not work: %s', p_operation, p_table, sqlerrm),
        hint = 'It may read new_rows (insert, update) and old_rows (update, delete). '
          'Every other table, function and operator needs its schema in front: a operator(public.->) b.';
  end;

  select array_agg(attname::text) into v_columns
  from pg_attribute where attrelid = 'pg_temp.rowcast_checked'::regclass and attnum > 0;

  select format('%s is %s, not %s', w.name, coalesce(format_type(a.atttypid, null), 'missing'), w.types)
  into v_wrong
  from (values
    ('name', 'text', true), ('rooms', 'text[]', true), ('data', 'json or jsonb', true),
    ('channel', 'text', false), ('render', 'text', false)
  ) w (name, types, required)
  left join pg_attribute a
    on a.attrelid = 'pg_temp.rowcast_checked'::regclass and a.attname = w.name and a.attnum > 0
  where (a.attname is null and w.required)
    or (a.attname is not null and format_type(a.atttypid, null) not in
      (select trim(t) from regexp_split_to_table(w.types, ' or ') t
       union select 'character varying' where w.types = 'text'))
  limit 1;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s: column %s', p_operation, p_table, v_wrong),
      hint = 'It has to return name text, rooms text[], data json, and may return channel text and render text.';
  end if;
  select string_agg(c, ', ') into v_wrong
  from unnest(v_columns) c where c not in ('name', 'rooms', 'data', 'channel', 'render');
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s returns columns nobody reads: %s', p_operation, p_table, v_wrong),
      hint = 'Put what the browser should get into data.';
  end if;

  perform rowcast.check_computed(p_table, p_operation);

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
      message = format('rowcast_owner may not read %s, which the query for %s on %s reads', v_wrong, p_operation, p_table),
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
      message = format('rowcast_owner may not call %s, which the query for %s on %s calls', v_wrong, p_operation, p_table),
      hint = 'Grant execute on the function to rowcast_owner.';
  end if;

  begin
    v_plan := rowcast.plan_query(v_query);
  exception
    when insufficient_privilege then
      raise exception using errcode = 'RC004',
        message = format('rowcast_owner may not run the query for %s on %s: %s', p_operation, p_table, sqlerrm),
        hint = 'Grant it usage on the schemas of all that the query names, types too.';
    when others then
      -- Such as a constant that can't be computed: that is for the first write to find out.
      v_plan := null;
  end;
  if v_plan ->> 'Node Type' = 'Seq Scan' and v_plan -> 'Plans' is null
    and v_plan ->> 'Relation Name' in ('new_rows', 'old_rows')
  then
    v_columns := v_columns || '(plain)'::text;
  end if;
  v_columns := v_columns || rowcast.settings_for(p_query, 'pg_temp.rowcast_checked');

  drop view pg_temp.rowcast_checked;
  drop table if exists pg_temp.new_rows, pg_temp.old_rows;
  return v_columns;
end
$$;
revoke all on function rowcast.check_query(regclass, text, text) from public;
comment on function rowcast.check_query(regclass, text, text) is
  'Checks a query over new_rows and old_rows and returns its columns; SQLSTATE RC003 or RC004.';
