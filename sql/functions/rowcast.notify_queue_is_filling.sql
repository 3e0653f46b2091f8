-- NOTIFY's queue is one for the whole cluster, and a session that once did LISTEN and then sits in
-- a transaction, in any database, keeps it from emptying. Full, it makes COMMIT fail, which no
-- handler in a trigger can catch. A tenth is far from full, and far above what a healthy server
-- ever holds.
-- In PL/pgSQL, which keeps its plan: a function in SQL that pins its search_path is planned anew in
-- every transaction. Whoever rings pays not even for the call: rowcast.tell_listeners asks by
-- itself.

create or replace function rowcast.notify_queue_is_filling() returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_notification_queue_usage() >= 0.1;
end
$$;
revoke all on function rowcast.notify_queue_is_filling() from public;
grant execute on function rowcast.notify_queue_is_filling() to rowcast_service;
comment on function rowcast.notify_queue_is_filling() is
  'Whether NOTIFY''s queue is a tenth full: nothing of ours notifies then.';
