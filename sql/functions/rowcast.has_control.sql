-- Whether a text has control characters, as the domains rowcast.name and rowcast.rooms mean it: in
-- many encodings [[:cntrl:]] alone takes letters for such (V23).

create or replace function rowcast.has_control(p_text text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p_text ~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
    then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
$$;
revoke all on function rowcast.has_control(text) from public;
comment on function rowcast.has_control(text) is
  'Whether a text has control characters, of which names and rooms have none.';
