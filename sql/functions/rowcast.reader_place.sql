-- Where a reader stands; null if there is none of that name, or it was not heard of for
-- reader_keep.

create or replace function rowcast.reader_place(p_sub text, p_name text) returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.bookmark
  from rowcast.reader r, rowcast.setting s
  where r.sub = p_sub and r.name = p_name and r.at >= clock_timestamp() - s.reader_keep
$$;
revoke all on function rowcast.reader_place(text, text) from public;
grant execute on function rowcast.reader_place(text, text) to rowcast_service;
comment on function rowcast.reader_place(text, text) is
  'The bookmark from which a durable reader resumes; null if it is not known.';
