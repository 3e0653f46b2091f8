-- What ends a connection before its session does: signing out, by deleting the session or by ending
-- it early; a session that is another user's now or has another secret; and another role. At commit
-- every connection is asked for again. Sessions that had ended already are tidied away unnoticed,
-- and those that go on are not looked at: of requests at once the earlier may be noted last.

-- Made where they are missing, because CREATE TRIGGER waits for writers.
do $$
begin
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'boardroom.sessions'::regclass and t.tgname = '_900_recheck_delete'
  ) then
    create constraint trigger _900_recheck_delete after delete on boardroom.sessions
    deferrable initially deferred for each row
    when (old.expires_at > now())
    execute function rowcast.recheck_at_commit();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'boardroom.sessions'::regclass and t.tgname = '_900_recheck_update'
      and pg_get_triggerdef(t.oid) ~ 'user_id'
  ) then
    -- An earlier one looked at the end alone.
    drop trigger if exists _900_recheck_update on boardroom.sessions;
    create constraint trigger _900_recheck_update after update on boardroom.sessions
    deferrable initially deferred for each row
    when ((new.secret_hash, new.user_id) <> (old.secret_hash, old.user_id)
      or new.expires_at < least(old.expires_at, now() + interval '1 minute'))
    execute function rowcast.recheck_at_commit();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'boardroom.users'::regclass and t.tgname = '_900_recheck_update'
  ) then
    create constraint trigger _900_recheck_update after update on boardroom.users
    deferrable initially deferred for each row
    when (old.role <> new.role)
    execute function rowcast.recheck_at_commit();
  end if;
  -- PostgreSQL defers no trigger for TRUNCATE.
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'boardroom.sessions'::regclass and t.tgname = '_900_recheck_truncate'
  ) then
    create trigger _900_recheck_truncate after truncate on boardroom.sessions
    for each statement execute function rowcast.recheck_at_commit();
  end if;
end
$$;
