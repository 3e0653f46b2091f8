-- Takes the triggers, their function and the memory of them away; the table itself is not touched.
-- What another attachment shares with it, which earlier versions let happen, is left to that one.

create or replace function rowcast.detach(p_table regclass, p_operation text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attached record;
  v_trigger record;
  v_gone boolean := false;
begin
  if p_operation is not null then
    perform rowcast.check_operation(p_operation);
  end if;
  -- A former partition still has the trigger of the table that it hung below.
  for v_trigger in
    select operation from rowcast.attachment
    where relation = p_table and state = 'left behind'
      and (p_operation is null or operation = p_operation)
  loop
    execute format('drop trigger %I on %s', '_900_rowcast_' || v_trigger.operation, p_table);
    v_gone := true;
  end loop;
  for v_attached in
    select a.*, to_regprocedure(a.function_name || '()') as function from rowcast.attached a
    where a.relation = p_table and (p_operation is null or a.operation = p_operation)
  loop
    delete from rowcast.attached
    where relation = v_attached.relation and operation = v_attached.operation;
    for v_trigger in
      select t.tgname as name, t.tgrelid::regclass as relation
      from pg_trigger t
      left join rowcast.tables_below(p_table) b on b.relation = t.tgrelid
      where t.tgfoid = v_attached.function and not exists (
        select from rowcast.attached o
        where to_regprocedure(o.function_name || '()') = t.tgfoid
          and t.tgname = '_900_rowcast_' || o.operation
          and (t.tgrelid = o.relation or rowcast.is_below(t.tgrelid, o.relation))
      )
      order by b.depth nulls last, t.tgrelid
    loop
      execute format('drop trigger %I on %s', v_trigger.name, v_trigger.relation);
    end loop;
    if not exists (
      select from rowcast.attached o
      where to_regprocedure(o.function_name || '()') = v_attached.function
    ) then
      execute format('drop function if exists %s()', v_attached.function_name);
    end if;
    v_gone := true;
  end loop;
  if not v_gone then
    raise exception using errcode = 'RC005',
      message = format('nothing is attached to %s%s',
        coalesce(p_table::text, 'null'), ' for ' || p_operation),
      hint = 'See what is: select * from rowcast.attachment.';
  end if;
end
$$;
revoke all on function rowcast.detach(regclass, text) from public;
comment on function rowcast.detach(regclass, text) is
  'Removes what rowcast.attach made; all operations where none is named. SQLSTATE RC003, RC005.';
