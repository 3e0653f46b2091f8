-- Notes lastval() for rowcast.keep_lastval, as whoever writes: nobody else may be allowed to ask.

create or replace function rowcast.note_lastval() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('rowcast.lastval', lastval()::text, true);
  return null;
exception
  -- There is none yet in this session, or it is of a sequence that the writer may not read.
  when object_not_in_prerequisite_state or insufficient_privilege then
    perform set_config('rowcast.lastval', '', true);
    return null;
end
$$;
revoke all on function rowcast.note_lastval() from public;
comment on function rowcast.note_lastval() is
  'A trigger before that of rowcast.attach: notes lastval() for the one behind it, '
  'rowcast.keep_lastval.';
