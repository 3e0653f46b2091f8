-- The doorbell's trigger, for what is written to rowcast.event: by hand, and while channels are
-- announced. What rowcast.attach makes writes past it and calls rowcast.wake itself.
-- Only this, for announcements, and rowcast.tell_listeners notify: everything else inserts.
-- Every write pays for the question whether there is anything to do. So it stands in the trigger's
-- WHEN, which is asked without calling this, behind the statement (see rowcast.wake).

create or replace function rowcast.ring() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name <> 'event' then
    -- What a DBA changed, or who may hear what: rare.
    if exists (select from rowcast.channel where delivery = 'announce') then
      perform setval('rowcast.announcing', 1);
    end if;
    -- NOTIFY makes PREPARE TRANSACTION fail, and a sign-out or a revocation writes to setting:
    -- where something may be prepared, the next look reads it, as it does at any time.
    if tg_table_name <> 'setting' or current_setting('max_prepared_transactions')::integer = 0 then
      perform rowcast.tell_listeners(tg_table_name);
    end if;
    return null;
  end if;
  if not exists (select from new_events) then
    return null;
  end if;
  perform rowcast.wake();
  if pg_sequence_last_value('rowcast.announcing'::regclass) = 1 then
    -- Above 7,999 bytes NOTIFY would abort the application's write: the id is enough to ask for it.
    perform pg_notify(e.channel, case
      when octet_length(b.body) <= 7999 then b.body
      else json_build_object('id', e.id::text)::text
    end)
    from new_events e
    join rowcast.channel c on c.name = e.channel and c.delivery = 'announce'
    cross join lateral (
      select json_build_object(
        'id', e.id::text, 'name', e.name, 'rooms', e.rooms, 'data', e.data
      )::text as body
    ) b
    where not rowcast.notify_queue_is_filling();
  end if;
  return null;
end
$$;
revoke all on function rowcast.ring() from public;
comment on function rowcast.ring() is
  'Wakes the listener if it sleeps, and announces events of channels with delivery announce to '
  'others.';

do $$
declare
  v_table text;
begin
  -- As long as the log's trigger has no WHEN, it is one of before.
  if not exists (
    select from pg_trigger
    where tgrelid = 'rowcast.event'::regclass and tgname = '_900_rowcast_ring'
      and tgqual is not null
  ) then
    create or replace trigger _900_rowcast_ring after insert on rowcast.event
      referencing new table as new_events for each statement
      when (
        pg_sequence_last_value('rowcast.doorbell'::regclass) = 1
        or pg_sequence_last_value('rowcast.announcing'::regclass) = 1
        or pg_sequence_last_value('rowcast.event_id_seq'::regclass)
          >= pg_sequence_last_value('rowcast.bound'::regclass)
      )
      execute function rowcast.ring();
    -- A table whose own triggers are ALWAYS needs the doorbell ALWAYS.
    alter table rowcast.event enable always trigger _900_rowcast_ring;
  end if;
  foreach v_table in array array['channel', 'setting'] loop
    if not exists (
      select from pg_trigger
      where tgrelid = format('rowcast.%I', v_table)::regclass and tgname = '_900_rowcast_ring'
    ) then
      execute format(
        'create trigger _900_rowcast_ring '
        'after insert or update or delete or truncate on rowcast.%I '
        'for each statement execute function rowcast.ring()', v_table
      );
    end if;
    -- Whoever changes these under session_replication_role = replica means it, too.
    if exists (
      select from pg_trigger
      where tgrelid = format('rowcast.%I', v_table)::regclass and tgname = '_900_rowcast_ring'
        and tgenabled <> 'A'
    ) then
      execute format('alter table rowcast.%I enable always trigger _900_rowcast_ring', v_table);
    end if;
  end loop;
end
$$;
