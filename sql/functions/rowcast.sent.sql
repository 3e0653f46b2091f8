-- A text of a client's, as the service passes it on: as a JSON string, or, where it is more than
-- ASCII, as an array with its bytes in UTF-8, in hex. Null for what the database's encoding can't
-- hold: as a parameter it would fail the statement, and with it all that others ask in the same.

create or replace function rowcast.sent(p_value jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_value) = 'array' then
    begin
      return convert_from(decode(p_value ->> 0, 'hex'), 'UTF8');
    exception
      when untranslatable_character or character_not_in_repertoire then
        return null;
    end;
  end if;
  return p_value #>> '{}';
end
$$;
revoke all on function rowcast.sent(jsonb) from public;
comment on function rowcast.sent(jsonb) is
  'A text of a client''s that is spelled as JSON; null if the database can''t hold it.';
