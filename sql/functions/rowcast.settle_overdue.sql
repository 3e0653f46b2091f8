-- Rotates the log at the end of a writer's transaction (see rowcast.bound_log). It must never fail
-- the write.

create or replace function rowcast.settle_overdue() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from rowcast.overdue where xid = new.xid;
  perform rowcast.rotate_log();
  return null;
exception
  when others then
    perform rowcast.warn(format(
      'rowcast: the log could not be rotated: %s (%s)', sqlerrm, sqlstate
    ));
    return null;
end
$$;
revoke all on function rowcast.settle_overdue() from public;
comment on function rowcast.settle_overdue() is 'Rotates the log for want of a service.';

do $$
begin
  if not exists (
    select from pg_trigger
    where tgrelid = 'rowcast.overdue'::regclass and tgname = '_900_rowcast_settle'
  ) then
    create constraint trigger _900_rowcast_settle after insert on rowcast.overdue
      deferrable initially deferred for each row execute function rowcast.settle_overdue();
    alter table rowcast.overdue enable always trigger _900_rowcast_settle;
  end if;
end
$$;
