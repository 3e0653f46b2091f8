-- The key of a state event. Column data is json, which takes texts that jsonb refuses, "\u0000" and
-- 1e400000: null for these, for an error here would stop the log for everybody.

create or replace function rowcast.state_key(p_data json) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_data::jsonb;
exception
  when others then
    raise warning 'rowcast: the data of a state event can''t be a key: %', sqlerrm;
    return null;
end
$$;
revoke all on function rowcast.state_key(json) from public;
comment on function rowcast.state_key(json) is
  'The key of a state event; null if its data is no jsonb.';
