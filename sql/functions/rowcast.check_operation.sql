-- Refuses what nothing can be attached to: RC003.

create or replace function rowcast.check_operation(p_operation text) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_operation is null or p_operation not in ('insert', 'update', 'delete', 'truncate') then
    raise exception using errcode = 'RC003',
      message = format('there is no operation %L', p_operation),
      hint = 'One of insert, update, delete, truncate; one call for each.';
  end if;
end
$$;
revoke all on function rowcast.check_operation(text) from public;
comment on function rowcast.check_operation(text) is
  'Refuses what is not insert, update, delete or truncate; SQLSTATE RC003.';
