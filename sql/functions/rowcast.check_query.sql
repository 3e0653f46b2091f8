-- Checks a query before it becomes a trigger: that it parses with the search_path it will run
-- under, that its columns are those of an event, and that rowcast_owner may read what it reads.
-- Returns the columns it has, and `(plain)` if it does no more than pass the rows through, one by
-- one: then its plan is the same for one row and for a million. And `(set ...)` for each setting of
-- a writer's session that it would change with. Runs as the caller, who has to be allowed to see
-- the table.

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
  v_query text := format(
    e'select * from (\n%s\n) q', regexp_replace(p_query, '[[:space:];]+$', '')
  );
  v_columns text[];
  v_wrong text;
  v_plan json;
begin
  if coalesce(p_query, '') !~ '[^[:space:]]' then
    raise exception using errcode = 'RC003',
      message = format('there is no query for %s on %s', p_operation, p_table),
      hint = 'Give a select that returns name text, rooms text[] and data json.';
  end if;
  -- It would find the tables that it is checked with, and nothing in the trigger.
  if p_query ~* 'pg_temp"?[[:space:]]*[.][[:space:]]*"?(new|old)_rows' then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s looks for new_rows or old_rows in pg_temp',
        p_operation, p_table),
      hint = 'They are of no schema: write new_rows and old_rows.';
  end if;
  select string_agg(t, ', ') into v_wrong
  from unnest(array['new_rows', 'old_rows', 'rowcast_checked']) t
  where to_regclass('pg_temp.' || t) is not null;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('this session has something temporary of its own that is called %s',
        v_wrong),
      hint = 'Queries are checked with temporary tables and a view of these names: drop yours, or '
        'attach in another session.';
  end if;
  if p_operation in ('insert', 'update') then
    execute format(
      'create temporary table new_rows on commit drop as table %s with no data', p_table
    );
    grant select on pg_temp.new_rows to rowcast_owner;
  end if;
  if p_operation in ('update', 'delete') then
    execute format(
      'create temporary table old_rows on commit drop as table %s with no data', p_table
    );
    grant select on pg_temp.old_rows to rowcast_owner;
  end if;
  begin
    execute 'create temporary view rowcast_checked as ' || v_query;
  exception
    -- One hint for all: that of a syntax error is PostgreSQL's code for more than how a query is
    -- written.
    when others then
      raise exception using errcode = 'RC003',
        message = format('the query for %s on %s does not work: %s', p_operation, p_table, sqlerrm),
        hint = 'It is one select that can stand in parentheses, with no comment behind a '
          'semicolon. It may read new_rows (insert, update) and old_rows (update, delete). Every '
          'other table, function and operator needs its schema in front: a operator(public.->) b.';
  end;

  v_columns := rowcast.check_columns(p_table, p_operation);
  perform rowcast.check_computed(p_table, p_operation);
  perform rowcast.check_rights(p_table, p_operation);
  begin
    v_plan := rowcast.plan_query(v_query);
  exception
    when insufficient_privilege then
      raise exception using errcode = 'RC004',
        message = format('rowcast_owner may not run the query for %s on %s: %s',
          p_operation, p_table, sqlerrm),
        hint = 'Grant it usage on the schemas of all that the query names, types too. And leave '
          'out `for update` and its like: they lock rows, which takes more than to read them.';
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
