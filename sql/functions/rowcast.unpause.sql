-- What was held back while a channel was paused was never sent, and bookmarks have passed over it:
-- letting it go is told in the log itself, as a gap, so that a later resume hears of it too. On a
-- channel of its own, or the next pause would hide it.

create or replace function rowcast.unpause() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_let_go boolean;
begin
  if tg_op = 'TRUNCATE' then
    v_let_go := exists (select from rowcast.channel where paused);
  else
    v_let_go := old.paused and (tg_op = 'DELETE' or not new.paused or new.name <> old.name);
  end if;
  if v_let_go then
    insert into rowcast.event (channel, name, rooms, data)
    values ('rowcast', 'rowcast:gap', array['*'], '{"reason":"paused"}');
  end if;
  return null;
end
$$;
revoke all on function rowcast.unpause() from public;
comment on function rowcast.unpause() is
  'Tells everybody of a gap when a paused channel is let go.';

do $$
begin
  if not exists (
    select from pg_trigger
    where tgrelid = 'rowcast.channel'::regclass and tgname = '_800_rowcast_unpause'
  ) then
    create trigger _800_rowcast_unpause after update or delete on rowcast.channel
      for each row execute function rowcast.unpause();
  end if;
  if not exists (
    select from pg_trigger
    where tgrelid = 'rowcast.channel'::regclass and tgname = '_800_rowcast_unpause_truncate'
  ) then
    create trigger _800_rowcast_unpause_truncate before truncate on rowcast.channel
      for each statement execute function rowcast.unpause();
  end if;
  -- Whoever lets one go under session_replication_role = replica means it, too.
  if exists (
    select from pg_trigger
    where tgrelid = 'rowcast.channel'::regclass and tgname ~ '^_800_rowcast_unpause'
      and tgenabled <> 'A'
  ) then
    alter table rowcast.channel enable always trigger _800_rowcast_unpause,
      enable always trigger _800_rowcast_unpause_truncate;
  end if;
end
$$;
