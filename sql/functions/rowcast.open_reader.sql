-- Makes a reader that begins at this place, unless there is one of that name: then it stays what it
-- is. Where it stands; null if its user has as many as they may (two that come at once may make one
-- too many). One that is to be forgotten begins anew.

create or replace function rowcast.open_reader(p_sub text, p_name text, p_bookmark text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting rowcast.setting;
  v_others bigint;
begin
  perform rowcast.parse_bookmark(p_bookmark);
  select * into v_setting from rowcast.setting;
  select count(*) into v_others
  from rowcast.reader
  where sub = p_sub and name <> p_name and at >= clock_timestamp() - v_setting.reader_keep;
  if v_others >= v_setting.readers_per_user then
    return null;
  end if;
  insert into rowcast.reader as r (sub, name, bookmark) values (p_sub, p_name, p_bookmark)
  on conflict on constraint reader_pkey do update
  set bookmark = excluded.bookmark, at = excluded.at
  where r.at < clock_timestamp() - v_setting.reader_keep;
  return rowcast.reader_place(p_sub, p_name);
end
$$;
revoke all on function rowcast.open_reader(text, text, text) from public;
grant execute on function rowcast.open_reader(text, text, text) to rowcast_service;
comment on function rowcast.open_reader(text, text, text) is
  'Makes a durable reader that begins here, if there is none; where it stands, or null: too many.';
