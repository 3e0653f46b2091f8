-- Triggers that write to the log and belong to no attachment: hand-written ones, and those of an
-- attachment that was forgotten; and those that call what schema rowcast offers for it.
-- $1: functions that the files create. One of those counts if it names anything of schema rowcast:
-- a trigger of the application's own, whose function a file may make as well, does not.
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
  pn.nspname = 'rowcast' as ours,
  k.known,
  o.offered,
  t.tgenabled in ('O', 'A') as enabled,
  format('drop trigger if exists %I on %I.%I', t.tgname, n.nspname, c.relname) as drop
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
join pg_namespace pn on pn.oid = p.pronamespace
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
cross join lateral (
  select p.prosrc ~* '\mrowcast\.' and exists (
    select from unnest($1::text[]) f where to_regprocedure(f || '()') = p.oid
  )
) k (known)
cross join lateral (
  select pn.nspname = 'rowcast'
    and p.proname in ('recheck_at_commit', 'note_lastval', 'keep_lastval')
) o (offered)
where not t.tgisinternal and t.tgparentid = 0 and n.nspname <> 'rowcast'
  and (k.known or o.offered or p.prosrc ~*
    '\m(insert\s+into\s+rowcast\.(event|log)\M|rowcast\.(emit|tell_rooms|record_failure)\s*\()')
  and not exists (
    select from rowcast.attached a
    where t.tgname = '_900_rowcast_' || a.operation
      and t.tgfoid = to_regprocedure(a.function_name || '()')
  )
order by t.tgdeferrable, 1, 2
