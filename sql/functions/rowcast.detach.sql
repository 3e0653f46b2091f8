-- Takes the triggers, their function and the memory of them away; the table itself is not touched.

create or replace function rowcast.detach(p_table regclass, p_operation text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attached record;
  v_leaf regclass;
begin
  for v_attached in
    select * from rowcast.attached
    where relation = p_table and (p_operation is null or operation = p_operation)
  loop
    for v_leaf in
      select tgrelid from pg_trigger
      where tgfoid = to_regprocedure(v_attached.function_name || '()') order by tgrelid
    loop
      execute format('drop trigger %I on %s', '_900_rowcast_' || v_attached.operation, v_leaf);
    end loop;
    execute format('drop function if exists %s()', v_attached.function_name);
    delete from rowcast.attached
    where relation = v_attached.relation and operation = v_attached.operation;
  end loop;
  if not found then
    raise exception using errcode = 'RC005',
      message = format('nothing is attached to %s%s', p_table, ' for ' || p_operation),
      hint = 'See what is: select * from rowcast.attachment.';
  end if;
end
$$;
revoke all on function rowcast.detach(regclass, text) from public;
comment on function rowcast.detach(regclass, text) is
  'Removes what rowcast.attach made; all operations where none is named. SQLSTATE RC005.';
