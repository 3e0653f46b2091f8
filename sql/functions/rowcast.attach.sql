-- Turns a query over new_rows and old_rows into a statement-level trigger, on the table and on every
-- leaf of it (a write straight to a leaf does not fire the parent's trigger), and remembers it.
-- Runs as its caller, who must own the table and be a member of rowcast_owner.

create or replace function rowcast.attach(
  p_table regclass,
  p_operation text,
  p_query text,
  p_mode text default 'lossy'
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_channel text;
  v_function text;
  v_source text;
begin
  if p_operation is null or p_operation not in ('insert', 'update', 'delete', 'truncate') then
    raise exception using errcode = 'RC003',
      message = format('there is no operation %L', p_operation),
      hint = 'One of insert, update, delete, truncate; one call for each.';
  end if;
  if p_mode is null or p_mode not in ('lossy', 'strict') then
    raise exception using errcode = 'RC003',
      message = format('there is no mode %L', p_mode),
      hint = 'lossy: an error loses the events and tells a gap. strict: it aborts the write.';
  end if;
  if (select relkind from pg_class where oid = p_table) not in ('r', 'p') then
    raise exception using errcode = 'RC003',
      message = format('%s is not a table', p_table),
      hint = 'Attach to the tables that a view reads, not to the view.';
  end if;
  if p_operation = 'truncate' and exists (select from pg_inherits where inhrelid = p_table) then
    raise notice 'rowcast: % is a partition; truncating its parent fires the parent''s trigger only', p_table;
  end if;

  v_columns := rowcast.check_query(p_table, p_operation, p_query);
  select relname into v_channel from pg_class where oid = p_table;
  v_function := rowcast.trigger_function_name(p_table, p_operation);
  v_source := rowcast.trigger_source(
    p_table, p_operation, rtrim(p_query, E' \n\t;'), p_mode, v_columns, v_channel, v_function
  );
  execute v_source;
  execute format('alter function %s() owner to rowcast_owner', v_function);
  execute format('revoke all on function %s() from public', v_function);
  execute format('grant execute on function %s() to %I', v_function, current_user);
  perform rowcast.set_triggers(p_table, p_operation, v_function);

  insert into rowcast.attached as a (relation, operation, mode, query, function_name)
  values (p_table, p_operation, p_mode, p_query, v_function)
  on conflict on constraint attached_pkey
  do update set mode = excluded.mode, query = excluded.query, function_name = excluded.function_name
  where (a.mode, a.query, a.function_name)
    is distinct from (excluded.mode, excluded.query, excluded.function_name);
end
$$;
revoke all on function rowcast.attach(regclass, text, text, text) from public;
comment on function rowcast.attach(regclass, text, text, text) is
  'Attaches a query that turns changed rows into events; again replaces it. SQLSTATE RC003, RC004.';
