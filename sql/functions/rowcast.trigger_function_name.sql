-- rowcast."lab.bookings insert": readable in \df, and unambiguous.

create or replace function rowcast.trigger_function_name(p_table regclass, p_operation text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select 'rowcast.' || quote_ident(case
    when octet_length(f.full_name) <= 63 then f.full_name
    -- Too long for a name: a readable head, and a tail that keeps it apart from its like.
    else left(f.full_name, 30) || ' ' || left(md5(f.full_name), 12)
  end)
  from (
    select format('%s.%s %s', n.nspname, c.relname, p_operation) as full_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = p_table
  ) f
$$;
revoke all on function rowcast.trigger_function_name(regclass, text) from public;
comment on function rowcast.trigger_function_name(regclass, text) is
  'Name of the trigger function for a table and an operation.';
