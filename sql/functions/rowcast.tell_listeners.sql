-- A notification on the doorbell's channel, if NOTIFY's queue has room
-- (rowcast.notify_queue_is_filling says why). If not, writers are silenced, until the leading node
-- sees to it: a ring that was left out must not be followed by others, as if all who committed
-- before had rung.

create or replace function rowcast.tell_listeners(p_word text) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_notification_queue_usage() >= 0.1 then
    perform setval('rowcast.doorbell', 0);
  else
    perform pg_notify('rowcast', p_word);
  end if;
end
$$;
revoke all on function rowcast.tell_listeners(text) from public;
comment on function rowcast.tell_listeners(text) is
  'Notifies the listeners of a word, or silences writers where NOTIFY''s queue fills up.';
