-- Refuses a query that reads what a trigger is not given, though the tables have it that stand for
-- its rows. There are no system columns: each write would be an error. And PostgreSQL computes a
-- virtual generated column (from 18 on, its default kind) when a table is read, but not in the rows
-- of new_rows and old_rows. There it is null, or an error where the rows are joined. Asks the view
-- that rowcast.check_query has made.

create or replace function rowcast.check_computed(p_table regclass, p_operation text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_virtual text[];
  v_read text;
begin
  select string_agg(distinct a.attname, ', ') into v_read
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refobjid in (to_regclass('pg_temp.new_rows'), to_regclass('pg_temp.old_rows'))
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass and a.attnum < 0;
  if v_read is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s reads %s: triggers are given no system columns',
        p_operation, p_table, v_read),
      hint = 'Of a row that is still there the table has them: join it by its key.';
  end if;

  -- An inheritance child may have columns of its own, which whole rows of its trigger hold.
  select array_agg(distinct a.attname::text) into v_virtual
  from pg_attribute a
  where a.attgenerated = 'v' and not a.attisdropped
    and (a.attrelid = p_table or rowcast.is_below(a.attrelid, p_table));
  if v_virtual is null then
    return;
  end if;
  -- Which columns a query reads of a table, PostgreSQL notes for its rights: the number of each
  -- plus 7, and 7 for the whole row. Dependencies do not say the latter.
  select string_agg(distinct coalesce(a.attname, 'whole rows of ' || c.relname), ', ') into v_read
  from pg_rewrite r
  cross join lateral regexp_matches(
    r.ev_action::text,
    '[{]RTEPERMISSIONINFO :relid ([0-9]+) [^}]*:selectedCols [(]b([ 0-9]*)[)]',
    'g'
  ) t (rights)
  join pg_class c on c.oid = t.rights[1]::oid
    and c.oid in (to_regclass('pg_temp.new_rows'), to_regclass('pg_temp.old_rows'))
  cross join lateral regexp_split_to_table(ltrim(t.rights[2]), ' ') b (bit)
  left join pg_attribute a on a.attrelid = c.oid and a.attnum = nullif(b.bit, '')::integer - 7
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and (b.bit = '7' or a.attname = any (v_virtual));
  if v_read is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s reads %s: '
        'triggers are not given virtual generated columns, here %s',
        p_operation, p_table, v_read, array_to_string(v_virtual, ', ')),
      hint = 'Name the columns that it needs, and write the expression of a virtual one out; or '
        'make that STORED.';
  end if;
end
$$;
revoke all on function rowcast.check_computed(regclass, text) from public;
comment on function rowcast.check_computed(regclass, text) is
  'Refuses a query over system or virtual generated columns of new_rows and old_rows; RC003.';
