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
  t.tgrelid::regclass,
  a.operation,
  a.mode,
  a.query,
  a.function_name,
  'left behind',
  a.reset_above
from rowcast.attached a
join pg_trigger t on t.tgname = '_900_rowcast_' || a.operation
  and t.tgfoid = to_regprocedure(a.function_name || '()')
where not exists (
  select from rowcast.attached o join below b on b.root = o.relation
  where b.oid = t.tgrelid and o.operation = a.operation
    and to_regprocedure(o.function_name || '()') = t.tgfoid
);

revoke all on rowcast.attachment from public;
grant select on rowcast.attachment to rowcast_service;
comment on view rowcast.attachment is
  'Attached queries, one row per table they should be on, and their state.';
