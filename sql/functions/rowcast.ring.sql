-- The doorbell. The only place that calls pg_notify: everything else inserts into rowcast.event.

create or replace function rowcast.ring() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name = 'channel' then
    perform pg_notify('rowcast', 'channels');
    return null;
  end if;
  if not exists (select from new_events) then
    return null;
  end if;
  -- One in thousands looks whether anybody keeps the log within its bounds.
  if pg_sequence_last_value('rowcast.event_id_seq'::regclass)
      >= pg_sequence_last_value('rowcast.bound'::regclass) then
    perform rowcast.bound_log();
  end if;
  perform pg_notify('rowcast', '');
  if exists (select from rowcast.channel where delivery = 'announce') then
    -- Above 7,999 bytes NOTIFY would abort the application's write: the id is enough to ask for it.
    perform pg_notify(e.channel, case
      when octet_length(b.body) <= 7999 then b.body
      else json_build_object('id', e.id::text)::text
    end)
    from new_events e
    join rowcast.channel c on c.name = e.channel and c.delivery = 'announce'
    cross join lateral (
      select json_build_object('id', e.id::text, 'name', e.name, 'rooms', e.rooms, 'data', e.data)::text
        as body
    ) b;
  end if;
  return null;
end
$$;
revoke all on function rowcast.ring() from public;
comment on function rowcast.ring() is
  'Wakes the listener, and announces events of channels with delivery announce to others.';

do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'rowcast.event'::regclass and tgname = '_900_rowcast_ring') then
    create trigger _900_rowcast_ring after insert on rowcast.event
      referencing new table as new_events for each statement execute function rowcast.ring();
    -- A table whose own triggers are ALWAYS needs the doorbell ALWAYS.
    alter table rowcast.event enable always trigger _900_rowcast_ring;
  end if;
  if not exists (select from pg_trigger where tgrelid = 'rowcast.channel'::regclass and tgname = '_900_rowcast_ring') then
    create trigger _900_rowcast_ring after insert or update or delete or truncate on rowcast.channel
      for each statement execute function rowcast.ring();
  end if;
end
$$;
