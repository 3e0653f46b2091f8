-- Puts the trigger on a table and on all that hang below it: partitions and inheritance children.
-- A trigger that is there already is left alone: CREATE TRIGGER waits for writers, and makes
-- others wait behind it. A former partition loses its own: nobody asked to hear of that table. One
-- that somebody has renamed goes too: beside its successor it would tell everything twice.

create or replace function rowcast.set_triggers(p_table regclass, p_operation text, p_function text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_leaf regclass;
  v_trigger record;
  v_locked boolean := false;
  v_name text := format('_900_rowcast_%s', p_operation);
begin
  for v_leaf in
    select b.relation from rowcast.tables_below(p_table) b join pg_class c on c.oid = b.relation
    where c.relkind in ('r', 'p') and not exists (
      select from pg_trigger where tgrelid = b.relation and tgname = v_name
        and tgfoid = to_regprocedure(p_function || '()')
    )
    order by b.depth, b.relation
  loop
    -- The table itself is the first that its writers lock, whichever of its leaves they come to.
    if not v_locked then
      execute format('lock table only %s in share row exclusive mode', p_table);
      v_locked := true;
    end if;
    execute format(
      'create or replace trigger %I after %s on %s %s for each statement execute function %s()',
      v_name, p_operation, v_leaf,
      case p_operation
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
        else ''
      end,
      p_function
    );
  end loop;
  for v_trigger in
    select t.tgname as name, t.tgrelid::regclass as relation from pg_trigger t
    where t.tgfoid = to_regprocedure(p_function || '()') and (
      t.tgname <> v_name or t.tgrelid <> p_table and not rowcast.is_below(t.tgrelid, p_table)
    )
    order by t.tgrelid
  loop
    execute format('drop trigger %I on %s', v_trigger.name, v_trigger.relation);
  end loop;
end
$$;
revoke all on function rowcast.set_triggers(regclass, text, text) from public;
comment on function rowcast.set_triggers(regclass, text, text) is
  'Creates the triggers of an attachment where they are missing, drops them where it is no more.';
