-- The table $1, all that hangs below it and all that no longer does: its trigger for operation $2,
-- and whether that is what rowcast.attach makes, with the function named $3.
with recursive below as (
  select $1::oid as oid
  union
  select i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
),
concerned as (
  select oid, false as left_behind from below
  union all
  select t.tgrelid, true from pg_trigger t
  where t.tgfoid = to_regprocedure($3 || '()') and t.tgname = '_900_rowcast_' || $2
    and t.tgrelid not in (table below)
    and not exists (
      select from rowcast.attached o
      where to_regprocedure(o.function_name || '()') = t.tgfoid
        and (o.relation::oid, o.operation) <> ($1, $2)
    )
)
select
  format('%I.%I', n.nspname, c.relname) as relation,
  b.left_behind,
  c.relkind = 'f' as elsewhere,
  t.oid is not null as present,
  t.tgenabled in ('O', 'A') as enabled,
  t.tgfoid = to_regprocedure($3 || '()') as ours,
  t.tgtype = 0 + case $2 when 'insert' then 4 when 'delete' then 8 when 'update' then 16 else 32 end
    and t.tgqual is null and cardinality(t.tgattr::int2[]) = 0
    and (t.tgnewtable is not distinct from
      case when $2 in ('insert', 'update') then 'new_rows' end)
    and (t.tgoldtable is not distinct from
      case when $2 in ('update', 'delete') then 'old_rows' end) as sound,
  exists (
    select from pg_index i where i.indrelid = c.oid and i.indisunique and i.indpred is null
  ) as keyed
from concerned b
join pg_class c on c.oid = b.oid
  and (c.relkind in ('r', 'p') or (c.relkind = 'f' and $2 <> 'truncate'))
join pg_namespace n on n.oid = c.relnamespace
left join pg_trigger t on t.tgrelid = c.oid and t.tgname = '_900_rowcast_' || $2
order by c.oid = $1 desc, 1
