-- To a snapshot from before, a table is empty that was rewritten since (ALTER TABLE with another
-- type, TRUNCATE, a table that took its name). Whoever waited for the lock of such a change finds
-- nothing, and no error: PostgreSQL's manual says so under "Caveats" of concurrency control. Asked
-- behind what others wrote, in its snapshot, before anybody believes its answer.
-- What a transaction has read it still holds a lock on. The log's own leaves are emptied while it
-- is read, and the horizon tells of that. An index that is made, or made anew, leaves its table as
-- it was; and what has no file by now is a view, or a table that this transaction made for itself
-- and dropped.
-- pg_locks stops all who lock something for a moment. So where the catalog is small it is asked
-- only if that has changed since the snapshot: a row that we see was updated or deleted then, or,
-- since the last vacuum, by a transaction that was rolled back. That takes 0.1 ms for the most, and
-- as long again for each further MB of catalog; its index would take three times as long.

create or replace function rowcast.check_rewrites() returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = on
as $$
begin
  if pg_relation_size('pg_class') < 1000000
    and not exists (select from pg_class where xmax <> '0')
  then
    return;
  end if;
  if exists (
    select from pg_locks l
    left join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid()
      and l.locktype = 'relation'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and c.relnamespace is distinct from 'rowcast'::regnamespace
      -- Null: it is no index.
      and pg_index_has_property(l.relation, 'clusterable') is null
      -- Some catalogs have 0, and a table that our snapshot does not show yet has none.
      and (c.oid is null or c.relfilenode <> 0)
      and pg_relation_filenode(l.relation) <> coalesce(c.relfilenode, 0)
  ) then
    raise exception using errcode = '40001',
      message = 'a table that this read was rewritten meanwhile',
      hint = 'By ALTER TABLE, TRUNCATE, VACUUM FULL or the like: ask again.';
  end if;
end
$$;
revoke all on function rowcast.check_rewrites() from public;
comment on function rowcast.check_rewrites() is
  'Fails with 40001 if a table that this transaction read was rewritten since its snapshot.';
