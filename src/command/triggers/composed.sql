-- What rowcast.attach does with a query ($3, mode $4, reset_above $5) for table $1 and operation $2, as text.
with recursive wanted as (
  select
    c.oid::regclass as relation,
    c.relname::text as channel,
    n.nspname as schema,
    rowcast.trigger_function_name(c.oid::regclass, $2) as function,
    rowcast.check_query(c.oid::regclass, $2, $3) as columns
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = $1
),
below as (
  select $1::oid as oid
  union
  select i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
),
triggers as (
  select string_agg(
    format(
      E'create or replace trigger %I after %s on %I.%I\n  %sfor each statement execute function %s();\n',
      '_900_rowcast_' || $2, $2, n.nspname, c.relname,
      case $2
        when 'insert' then 'referencing new table as new_rows '
        when 'update' then 'referencing old table as old_rows new table as new_rows '
        when 'delete' then 'referencing old table as old_rows '
        else ''
      end,
      w.function
    ), '' order by c.oid
  ) as text
  from wanted w cross join below b
  join pg_class c on c.oid = b.oid and c.relkind in ('r', 'p')
  join pg_namespace n on n.oid = c.relnamespace
  where not exists (
    select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '_900_rowcast_' || $2
      and t.tgfoid = to_regprocedure(w.function || '()')
  )
),
left_behind as (
  select string_agg(
    format(E'drop trigger %I on %s;\n', t.tgname, t.tgrelid::regclass), '' order by t.tgrelid
  ) as text
  from wanted w
  join pg_trigger t on t.tgfoid = to_regprocedure(w.function || '()')
  where t.tgname <> '_900_rowcast_' || $2 or t.tgrelid not in (table below)
)
select concat(
  'begin;',
  rtrim(rowcast.trigger_source(
    w.relation, $2, rtrim($3, E' \n\t;'), $4, $5, w.columns, w.channel, w.function
  ), E'\n'),
  E';\n',
  -- From whom it has to be taken is known where the script runs.
  format(E'select rowcast.secure_function(%L);\n', w.function),
  t.text,
  l.text,
  E'insert into rowcast.attached as a (relation, operation, mode, query, function_name, reset_above)\n',
  format(
    E'values (%L, %L, %L, %L, %L, %s)\n',
    format('%I.%I', w.schema, w.channel), $2, $4, $3, w.function, coalesce($5::integer::text, 'null')
  ),
  E'on conflict on constraint attached_pkey do update\n',
  E'set mode = excluded.mode, query = excluded.query, function_name = excluded.function_name,\n',
  E'  reset_above = excluded.reset_above;\n',
  E'commit;\n'
)
from wanted w cross join triggers t cross join left_behind l
