-- The name of an event, if the event is within the bounds: the casts to the domains, which say what
-- those are, refuse it otherwise, and so does what has no form in UTF-8. The name, for that is a
-- column that may not be null.
-- Bodies that rowcast.attach makes call it only for what is not obviously short and plain.

create or replace function rowcast.checked_name(
  p_channel text,
  p_name text,
  p_rooms text[],
  p_data json
) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_channel constant rowcast.name := coalesce(p_channel, '');
  v_data constant rowcast.payload := p_data;
  v_rooms rowcast.rooms;
begin
  if array_ndims(p_rooms) > 1 then
    raise exception using errcode = '23514', constraint = 'rooms_are_a_list',
      message = 'rooms are an array of several dimensions, which violates "rooms_are_a_list"';
  end if;
  v_rooms := coalesce(p_rooms, '{}');
  if getdatabaseencoding() <> 'UTF8' then
    perform convert_to(concat(p_channel, p_name, p_rooms, p_data), 'UTF8');
  end if;
  return coalesce(p_name, '')::rowcast.name;
end
$$;
revoke all on function rowcast.checked_name(text, text, text[], json) from public;
comment on function rowcast.checked_name(text, text, text[], json) is
  'Returns p_name; SQLSTATE 23514, with the bound''s name, for an event that is out of bounds.';
