-- The ids of events are drawn by the session that writes, and lastval() speaks of the sequence that
-- its session drew from last. Only nextval decides which that is, but setval says what the session
-- takes for its value: so it draws from a sequence that is there for nothing else, and then sets
-- what was noted. It does not matter who else does the same meanwhile.

create or replace function rowcast.keep_lastval() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_noted constant text := current_setting('rowcast.lastval', true);
begin
  if v_noted <> '' then
    perform nextval('rowcast.lastval'), setval('rowcast.lastval', v_noted::bigint);
  end if;
  return null;
end
$$;
revoke all on function rowcast.keep_lastval() from public;
comment on function rowcast.keep_lastval() is
  'A trigger behind that of rowcast.attach: lastval() is again what rowcast.note_lastval noted.';
