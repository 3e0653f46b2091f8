-- For hand-written SQL: one event, in the transaction that calls it.

create or replace function rowcast.emit(p_channel text, p_name text, p_rooms text[], p_data json)
returns bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcast.event (channel, name, rooms, data)
  values (p_channel, rowcast.checked_name(p_channel, p_name, p_rooms, p_data), p_rooms, p_data)
  returning id
$$;
revoke all on function rowcast.emit(text, text, text[], json) from public;
comment on function rowcast.emit(text, text, text[], json) is
  'Pushes one event when the transaction commits; returns its id.';
