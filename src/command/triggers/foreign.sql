-- Triggers that write to the log and belong to no attachment: hand-written ones, and those of an
-- attachment that was forgotten. $1: functions to leave out.
select
  format('%I.%I', n.nspname, c.relname) as relation,
  t.tgname::text as trigger,
  format('%I.%I', pn.nspname, p.proname) as function,
  concat_ws('+',
    case when t.tgtype & 4 <> 0 then 'insert' end,
    case when t.tgtype & 16 <> 0 then 'update' end,
    case when t.tgtype & 8 <> 0 then 'delete' end,
    case when t.tgtype & 32 <> 0 then 'truncate' end
  ) as operations,
  pn.nspname = 'rowcast' as ours
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
join pg_namespace pn on pn.oid = p.pronamespace
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and t.tgparentid = 0 and n.nspname <> 'rowcast'
  and p.prosrc ~* '\m(insert\s+into\s+rowcast\.event\M|rowcast\.emit\s*\()'
  and p.oid <> all (array(
    select to_regprocedure(f || '()')::oid from unnest($1::text[]) f
    where to_regprocedure(f || '()') is not null
  ))
  and not exists (
    select from rowcast.attachment a
    where a.relation = t.tgrelid and t.tgname = '_900_rowcast_' || a.operation
      and t.tgfoid = to_regprocedure(a.function_name || '()')
  )
order by 1, 2
