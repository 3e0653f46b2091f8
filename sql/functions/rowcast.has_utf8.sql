-- Whether a text has a form in UTF-8, which is what the service reads and JSON is made of. In a
-- database of another encoding it may have none: byte 0x81 of WIN1252 is no character, and
-- SQL_ASCII takes any bytes. PostgreSQL fails the whole statement that would send one.

create or replace function rowcast.has_utf8(p_text text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    begin
      perform convert_to(p_text, 'UTF8');
    exception
      when untranslatable_character or character_not_in_repertoire then
        return false;
    end;
  end if;
  return true;
end
$$;
revoke all on function rowcast.has_utf8(text) from public;
comment on function rowcast.has_utf8(text) is
  'Whether a text can be sent; it always can in a database whose encoding is UTF8.';
