-- A table and all that hang below it, partitions and inheritance children, with how far down:
-- whoever locks more than one of them goes down, as those do who write to the table itself. In the
-- order of their oids a partition that is older than its parent would come first.

create or replace function rowcast.tables_below(
  p_table regclass,
  out relation oid,
  out depth integer
)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive below as (
    select p_table::oid as oid, 0 as depth
    union
    select i.inhrelid, b.depth + 1 from below b join pg_inherits i on i.inhparent = b.oid
  )
  select b.oid, max(b.depth) from below b group by b.oid
$$;
revoke all on function rowcast.tables_below(regclass) from public;
comment on function rowcast.tables_below(regclass) is
  'A table, and the tables that hang below it, with their depth.';
