-- What settings tell: other minutes between calls are another wait for everybody, so queue_update
-- to patients and staff, queue_refresh to staff, and at commit position_update (see
-- queue_positions.sql).

select rowcast.attach('clinic.settings', 'update', $$
  select t.name as name, t.rooms as rooms, '{}'::json as data, 'queue' as channel,
    t.render as render
  from (values
    ('queue_update', array['patients', 'staff'], 'clinic_push.queue_update'),
    ('queue_refresh', array['staff'], 'clinic_push.queue_refresh')
  ) t (name, rooms, render)
  where exists (
    select from new_rows n join old_rows o using (only_row)
    where o.minutes_between_calls <> n.minutes_between_calls
  )
$$);
