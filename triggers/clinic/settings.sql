-- What settings tell: other minutes between calls are another wait for everybody, so queue_update
-- to patients and staff, queue_refresh to staff, and at commit position_update (see
-- queue_positions.sql). Without a row the wait is what board.sql takes for it, so a row that comes
-- or goes is told as well.

create or replace function clinic_push.waits_changed()
returns table (name text, rooms text[], data json, channel text, render text)
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  values
    ('queue_update', array['patients', 'staff'], '{}'::json, 'queue', 'clinic_push.queue_update'),
    ('queue_refresh', array['staff'], '{}', 'queue', 'clinic_push.queue_refresh')
$$;
alter function clinic_push.waits_changed() owner to rowcast_owner;
revoke all on function clinic_push.waits_changed() from public;
grant execute on function clinic_push.waits_changed() to rowcast_owner;

select rowcast.attach('clinic.settings', 'insert', $$
  select t.* from clinic_push.waits_changed() t where exists (select from new_rows)
$$);

select rowcast.attach('clinic.settings', 'update', $$
  select t.* from clinic_push.waits_changed() t
  where exists (
    select from new_rows n join old_rows o using (only_row)
    where o.minutes_between_calls <> n.minutes_between_calls
  )
$$);

select rowcast.attach('clinic.settings', 'delete', $$
  select t.* from clinic_push.waits_changed() t where exists (select from old_rows)
$$);

select rowcast.attach('clinic.settings', 'truncate', $$
  select t.* from clinic_push.waits_changed() t
$$);
