-- What ends a socket before its session does: signing out, by deleting the session or by ending it
-- early; a session that is another user's now or has another id; and a user who is closed or
-- becomes of another type. At commit every connection is asked for again. Sessions that had ended
-- already are tidied away unnoticed, and those that go on are not looked at: of requests at once
-- the earlier may be noted last.

-- Made where they are missing, because CREATE TRIGGER waits for writers.
do $$
begin
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.http_sessions'::regclass and t.tgname = '_900_recheck_delete'
  ) then
    create constraint trigger _900_recheck_delete after delete on spa.http_sessions
    deferrable initially deferred for each row
    when (old.max_inactive_seconds <= 0
      or old.last_accessed_at + make_interval(secs => old.max_inactive_seconds) > now())
    execute function rowcast.recheck_at_commit();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.http_sessions'::regclass and t.tgname = '_900_recheck_update'
  ) then
    create constraint trigger _900_recheck_update after update on spa.http_sessions
    deferrable initially deferred for each row
    when ((new.session_id, new.user_id) <> (old.session_id, old.user_id)
      or (new.max_inactive_seconds > 0
        and new.last_accessed_at + make_interval(secs => new.max_inactive_seconds)
          < now() + interval '1 minute'
        and (old.max_inactive_seconds <= 0
          or new.last_accessed_at + make_interval(secs => new.max_inactive_seconds)
            < old.last_accessed_at + make_interval(secs => old.max_inactive_seconds))))
    execute function rowcast.recheck_at_commit();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.users'::regclass and t.tgname = '_900_recheck_update'
  ) then
    create constraint trigger _900_recheck_update after update on spa.users
    deferrable initially deferred for each row
    when (old.is_active <> new.is_active or old.user_type <> new.user_type)
    execute function rowcast.recheck_at_commit();
  end if;
  -- PostgreSQL defers no trigger for TRUNCATE.
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.http_sessions'::regclass and t.tgname = '_900_recheck_truncate'
  ) then
    create trigger _900_recheck_truncate after truncate on spa.http_sessions
    for each statement execute function rowcast.recheck_at_commit();
  end if;
end
$$;
