-- The same as rowcast.check_rewrites, for where what read has failed: its locks went with it, and
-- it may have failed because a table looked empty, as one that raises an error of its own where it
-- finds no row. So any table counts that has another file than in our snapshot, or none: of the
-- catalog's rows that we see, only those can say so that were updated or deleted since.

create or replace function rowcast.check_any_rewrite() returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = on
as $$
begin
  if exists (
    select from pg_class c
    where c.xmax <> '0'
      and c.relkind in ('r', 'm')
      and c.relpersistence <> 't'
      and c.relfilenode <> 0
      and c.relnamespace <> 'rowcast'::regnamespace
      and c.relfilenode is distinct from pg_relation_filenode(c.oid)
  ) then
    raise exception using errcode = '40001',
      message = 'a table was rewritten while this read failed',
      hint = 'By ALTER TABLE, TRUNCATE, VACUUM FULL or the like: ask again.';
  end if;
end
$$;
revoke all on function rowcast.check_any_rewrite() from public;
comment on function rowcast.check_any_rewrite() is
  'Fails with 40001 if any table was rewritten since the snapshot of this transaction.';
