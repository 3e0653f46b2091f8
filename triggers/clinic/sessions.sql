-- What ends a connection before its session does: signing out, by deleting the session or by ending
-- it early; and a session that is given another id, or to somebody else. At commit every connection
-- is asked for again. Sessions that had ended already are tidied away unnoticed.

-- Made where they are missing, because CREATE TRIGGER waits for writers.
do $$
begin
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'clinic.sessions'::regclass and t.tgname = '_900_recheck_delete'
  ) then
    create constraint trigger _900_recheck_delete after delete on clinic.sessions
    deferrable initially deferred for each row
    when (old.ends_at > now())
    execute function rowcast.recheck_at_commit();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'clinic.sessions'::regclass and t.tgname = '_900_recheck_update'
      and pg_get_triggerdef(t.oid) like '%patient_id%'
  ) then
    -- An older one did not look at whose session it is.
    drop trigger if exists _900_recheck_update on clinic.sessions;
    create constraint trigger _900_recheck_update after update on clinic.sessions
    deferrable initially deferred for each row
    when (
      new.ends_at < old.ends_at
      or (new.session_id, new.patient_id, new.staff_id)
        is distinct from (old.session_id, old.patient_id, old.staff_id)
    )
    execute function rowcast.recheck_at_commit();
  end if;
  -- PostgreSQL defers no trigger for TRUNCATE.
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'clinic.sessions'::regclass and t.tgname = '_900_recheck_truncate'
  ) then
    create trigger _900_recheck_truncate after truncate on clinic.sessions
    for each statement execute function rowcast.recheck_at_commit();
  end if;
end
$$;
