-- The name of an event, if the event is within the bounds: the casts to the domains, which say what
-- those are, refuse it otherwise. The name, for that is a column that may not be null.
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
  v_rooms constant rowcast.rooms := coalesce(p_rooms, '{}');
  v_data constant rowcast.payload := p_data;
begin
  return coalesce(p_name, '')::rowcast.name;
end
$$;
revoke all on function rowcast.checked_name(text, text, text[], json) from public;
comment on function rowcast.checked_name(text, text, text[], json) is
  'Returns p_name; SQLSTATE 23514, with the bound''s name, for an event that is out of bounds.';
