-- Whether one table is a partition or an inheritance child of another, however far down.

create or replace function rowcast.is_below(p_table regclass, p_parent regclass) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive above as (
    select inhparent from pg_inherits where inhrelid = p_table
    union
    select i.inhparent from above a join pg_inherits i on i.inhrelid = a.inhparent
  )
  select exists (select from above where inhparent = p_parent)
$$;
revoke all on function rowcast.is_below(regclass, regclass) from public;
comment on function rowcast.is_below(regclass, regclass) is
  'Whether p_table is a partition or an inheritance child of p_parent.';
