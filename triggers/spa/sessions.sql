-- What ends a socket before its session does: signing out, and a user who is closed or becomes of
-- another type. At commit every connection is asked for again (rowcast.recheck), once a transaction,
-- so that nobody waits for a long one. Sessions that had ended already are tidied away unnoticed.

create or replace function spa_push.recheck() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction text := pg_current_xact_id()::text;
begin
  if current_setting('spa_push.rechecked', true) is distinct from v_transaction then
    perform rowcast.recheck();
    perform set_config('spa_push.rechecked', v_transaction, true);
  end if;
  return null;
exception
  -- The application's write goes before: the socket then ends when its session would have.
  when others then
    raise warning 'nobody is asked for again: % (%)', sqlerrm, sqlstate;
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context) values
      (tg_table_name, 'spa.' || tg_table_name, lower(tg_op), sqlstate, sqlerrm, 'spa_push.recheck');
    return null;
end
$$;
alter function spa_push.recheck() owner to rowcast_owner;
revoke all on function spa_push.recheck() from public;
grant execute on function spa_push.recheck() to rowcast_owner;

-- Made where they are missing, because CREATE TRIGGER waits for writers.
do $$
begin
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.http_sessions'::regclass and t.tgname = '_900_spa_push_delete'
  ) then
    create constraint trigger _900_spa_push_delete after delete on spa.http_sessions
    deferrable initially deferred for each row
    when (old.last_accessed_at + make_interval(secs => old.max_inactive_seconds) > now())
    execute function spa_push.recheck();
  end if;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.users'::regclass and t.tgname = '_900_spa_push_update'
  ) then
    create constraint trigger _900_spa_push_update after update on spa.users
    deferrable initially deferred for each row
    when (old.is_active <> new.is_active or old.user_type <> new.user_type)
    execute function spa_push.recheck();
  end if;
end
$$;
