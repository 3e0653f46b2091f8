-- Warns whoever writes, and the server's log. The encoding of a session may lack one of the
-- characters, and a warning that can't be sent is an error: then it is said without them. With a
-- warning goes its context, whose names it may lack as well: then it is in the server's log alone,
-- for the write must not fail. Blocks that write nothing cost no xid.

create or replace function rowcast.warn(p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    raise warning '%', p_message;
  exception
    when others then
      raise warning '%', regexp_replace(p_message collate "C", '[^ -~]', '?', 'g');
  end;
exception
  when others then
    null;
end
$$;
revoke all on function rowcast.warn(text) from public;
comment on function rowcast.warn(text) is
  'Raises a warning, in ASCII or in the server''s log alone where the session has no better.';
