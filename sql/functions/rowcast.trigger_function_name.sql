-- rowcast."lab.bookings insert": readable in \df. One function belongs to one attachment: whoever
-- has a name keeps it, whatever becomes of the table's, and nobody gets one that is taken.

create or replace function rowcast.trigger_function_name(p_table regclass, p_operation text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with full_name as (
    select format('%s.%s %s', n.nspname, c.relname, p_operation) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = p_table
  ),
  candidate as (
    select 1 as place, function_name as name
    from rowcast.attached where relation = p_table and operation = p_operation
    union all
    select 2, 'rowcast.' || quote_ident(name) from full_name where octet_length(name) <= 63
    union all
    -- Too long for a name, or another's: a readable head, and a tail that keeps it apart.
    select t.place, 'rowcast.' || quote_ident((
      -- 63 bytes less the tail, and no character cut in two.
      select left(f.name, max(n)) from generate_series(1, 50) n
      where octet_length(left(f.name, n)) <= 50
    ) || ' ' || encode(substr(sha256(convert_to(t.apart, getdatabaseencoding())), 1, 6), 'hex'))
    from full_name f
    cross join lateral (
      values (3, f.name), (4, p_table::oid::text || ' ' || f.name)
    ) t (place, apart)
    where t.place = 4 or octet_length(f.name) > 63
  )
  select c.name from candidate c
  where not exists (
    select from rowcast.attached a
    where (a.relation::oid, a.operation) <> (p_table::oid, p_operation)
      -- As PostgreSQL reads it, which cuts names off.
      and (a.function_name = c.name
        or to_regprocedure(a.function_name || '()') = to_regprocedure(c.name || '()'))
  )
  order by c.place limit 1
$$;
revoke all on function rowcast.trigger_function_name(regclass, text) from public;
comment on function rowcast.trigger_function_name(regclass, text) is
  'Name of the trigger function for a table and an operation: the one it has, or a free one.';
