-- What is attached, and whether it is in force: one row per attached query and table it should be
-- on, and per table that it is left behind on, such as a partition that was detached.

create or replace view rowcast.attachment as
with recursive below as (
  select a.relation::oid as root, a.relation::oid as oid from rowcast.attached a
  union
  select b.root, i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
)
select
  a.relation as root,
  b.oid::regclass as relation,
  a.operation,
  a.mode,
  a.query,
  a.function_name,
  case
    when c.oid is null then 'table dropped'
    when c.relkind = 'f' then 'foreign table'
    when t.oid is null then 'missing'
    when t.tgenabled not in ('O', 'A') then 'disabled'
    when a.operation = 'update' and not exists (
      select from pg_index i where i.indrelid = b.oid and (i.indisprimary or i.indisunique)
    ) then 'no primary key'
    else 'ok'
  end as state,
  a.reset_above
from rowcast.attached a
join below b on b.root = a.relation
left join pg_class c on c.oid = b.oid
left join pg_trigger t on t.tgrelid = b.oid and t.tgname = '_900_rowcast_' || a.operation
  and t.tgfoid = to_regprocedure(a.function_name || '()')
where c.oid is null or c.relkind in ('r', 'p') or (c.relkind = 'f' and a.operation <> 'truncate')
union all
select
  a.relation,
  l.oid::regclass,
  a.operation,
  a.mode,
  a.query,
  a.function_name,
  'left behind',
  a.reset_above
from rowcast.attached a
-- `except`, for no estimate makes that a nested loop: partitions may be thousands, attached a
-- moment ago.
join (
  select o.operation, t.tgfoid as function, t.tgrelid as oid
  from rowcast.attached o
  join pg_trigger t on t.tgname = '_900_rowcast_' || o.operation
    and t.tgfoid = to_regprocedure(o.function_name || '()')
  except
  select o.operation, to_regprocedure(o.function_name || '()'), b.oid
  from rowcast.attached o join below b on b.root = o.relation
) l on l.operation = a.operation and l.function = to_regprocedure(a.function_name || '()');

revoke all on rowcast.attachment from public;
grant select on rowcast.attachment to rowcast_service;
comment on view rowcast.attachment is
  'Attached queries, one row per table they should be on, and their state.';
