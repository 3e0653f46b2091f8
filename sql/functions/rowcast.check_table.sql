-- Refuses to attach to what pushes nothing, or never stops: RC003, and where to attach instead.

drop function if exists rowcast.check_table(regclass);

create or replace function rowcast.check_table(p_table regclass, p_operation text) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is text;
  v_hint text;
begin
  if not exists (select from pg_class where oid = p_table) then
    raise exception using errcode = 'RC003',
      message = format('there is no table %s', coalesce(p_table::text, 'null')),
      hint = 'Name it with its schema: ''shop.orders''.';
  end if;
  select r.what, r.hint into v_is, v_hint
  from pg_class c
  cross join lateral (
    values
      (c.relkind = 'f', 'a foreign table',
        'Its rows change on the other server too, unseen from here. Attach there.'),
      (c.relkind not in ('r', 'p'), 'not a table',
        'Attach to the tables that a view reads, not to the view.'),
      -- An event about an event would be one more, without end: every write would hang.
      (c.relnamespace = 'rowcast'::regnamespace, 'a table of Rowcast''s own',
        'Attach to the tables of the application.'),
      (c.relpersistence = 't', 'a temporary table',
        'It goes with its session, which alone writes to it. Attach to a table that stays.'),
      -- PostgreSQL collects no transition rows from one, and fails the parent's writes instead.
      (p_operation <> 'truncate' and exists (
        select from pg_class f where f.relkind = 'f' and rowcast.is_below(f.oid, p_table)
      ), 'a table with a foreign one below it',
        'The application''s writes to it would fail. Attach to its local partitions.')
  ) r (applies, what, hint)
  where c.oid = p_table and r.applies
  limit 1;
  if v_is is not null then
    raise exception using errcode = 'RC003',
      message = format('%s is %s', p_table, v_is),
      hint = v_hint;
  end if;
end
$$;
revoke all on function rowcast.check_table(regclass, text) from public;
comment on function rowcast.check_table(regclass, text) is
  'Refuses what can''t be attached to, such as views, foreign tables, Rowcast''s own; RC003.';
