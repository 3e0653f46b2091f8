-- Turns a query over new_rows and old_rows into a statement-level trigger, on the table and on
-- every leaf of it (a write straight to a leaf does not fire the parent's trigger), and remembers
-- it.
-- Runs as its caller, who must own the table and be a member of rowcast_owner.

create or replace function rowcast.attach(
  p_table regclass,
  p_operation text,
  p_query text,
  p_mode text default 'lossy',
  p_reset_above integer default 10000
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_columns text[];
  v_channel text;
  v_function text;
  v_source text;
  v_other regclass;
  v_child regclass;
begin
  perform rowcast.check_operation(p_operation);
  if p_mode is null or p_mode not in ('lossy', 'strict') then
    raise exception using errcode = 'RC003',
      message = format('there is no mode %L', p_mode),
      hint = 'lossy: an error loses the events and tells a gap. strict: it aborts the write.';
  end if;
  if p_reset_above < 0 then
    raise exception using errcode = 'RC003',
      message = format('%s is no number of events', p_reset_above),
      hint = 'reset_above: a statement with more events tells one reset per room; null: never.';
  end if;
  perform rowcast.check_table(p_table, p_operation);
  if p_query ~ '[$](body|query)[$]' then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s contains $body$ or $query$', p_operation, p_table),
      hint = 'They are the quotes of the function round it: use others.';
  end if;
  select a.relation into v_other
  from rowcast.attached a
  where a.operation = p_operation and a.relation <> p_table
    and (rowcast.is_below(a.relation, p_table) or rowcast.is_below(p_table, a.relation));
  if v_other is not null then
    raise exception using errcode = 'RC003',
      message = format('%s is attached for %s already, and one hangs below the other: %s',
        v_other, p_operation, p_table),
      hint = 'Attach to the parent only: its partitions and children are attached with it.';
  end if;
  -- It has one trigger for an operation: the second attachment would take it from the first. Where
  -- two of them meet, there is a table with a second parent; partitions, which may be thousands,
  -- have one.
  select i.inhrelid, a.relation into v_child, v_other
  from pg_inherits i
  join rowcast.attached a on a.operation = p_operation and a.relation <> p_table
  where i.inhseqno > 1
    and rowcast.is_below(i.inhrelid, p_table) and rowcast.is_below(i.inhrelid, a.relation)
  limit 1;
  if v_other is not null then
    raise exception using errcode = 'RC003',
      message = format('%s hangs below %s and below %s, which is attached for %s already',
        v_child, p_table, v_other, p_operation),
      hint = 'A table can tell of its rows for one parent only: attach to the children instead, or '
        'take it out of one of the two (alter table ... no inherit).';
  end if;

  v_columns := rowcast.check_query(p_table, p_operation, p_query);
  select relname into v_channel from pg_class where oid = p_table;
  if rowcast.has_control(v_channel) or p_table::text ~ '[$](body|query)[$]' then
    raise exception using errcode = 'RC003',
      message = format('the name of %s has control characters, $body$ or $query$', p_table),
      hint = 'Rename it: its channel is called like it, and the trigger''s function names it.';
  end if;
  v_function := rowcast.trigger_function_name(p_table, p_operation);
  v_source := rowcast.trigger_source(
    p_table, p_operation, p_query, p_mode, p_reset_above, v_columns, v_channel,
    v_function
  );
  -- First, for its row is a lock as well: of two that make one function at once, the second would
  -- fail.
  insert into rowcast.attached as a (relation, operation, mode, query, function_name, reset_above)
  values (p_table, p_operation, p_mode, p_query, v_function, p_reset_above)
  on conflict on constraint attached_pkey
  do update set mode = excluded.mode, query = excluded.query,
    function_name = excluded.function_name, reset_above = excluded.reset_above
  where (a.mode, a.query, a.function_name, a.reset_above) is distinct from
    (excluded.mode, excluded.query, excluded.function_name, excluded.reset_above);
  -- The same again is left alone: replacing a function costs every session its plans.
  if not exists (
    select from pg_proc
    where oid = to_regprocedure(v_function || '()') and prosecdef
      and proowner = 'rowcast_owner'::regrole and prosrc = split_part(v_source, '$body$', 2)
  ) then
    execute v_source;
  end if;
  perform rowcast.secure_function(v_function);
  perform rowcast.set_triggers(p_table, p_operation, v_function);
end
$$;
revoke all on function rowcast.attach(regclass, text, text, text, integer) from public;
comment on function rowcast.attach(regclass, text, text, text, integer) is
  'Attaches a query that turns changed rows into events; again replaces it. SQLSTATE RC003, RC004.';
