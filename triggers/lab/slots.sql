-- What slots tell: time-slot:updated when there is a new one, when its status, capacity or lab
-- changes, and when it is gone. Bookings that change the spots left tell it too (bookings.sql).

-- Status and spots left of slots, counted when the event is read, so that no concurrent booking is
-- missed. To add a field to time-slot:updated, add it here.
create or replace function lab_push.slot_state(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object(
    'slotId', s.slot_id,
    'labId', s.lab_id,
    'status', case
      when s.status = 'closed' then 'closed'
      when s.capacity <= b.held then 'full'
      else 'open'
    end,
    'availableSpots', greatest(s.capacity - b.held, 0)
  )
  from unnest(p_keys) k (key)
  join lab.slots s on s.slot_id = (k.key ->> 'slotId')::bigint
    and s.lab_id = (k.key ->> 'labId')::bigint
  cross join lateral (
    select count(*) as held from lab.bookings b
    where b.slot_id = s.slot_id and b.status <> 'cancelled'
  ) b
$$;
alter function lab_push.slot_state(jsonb[]) owner to rowcast_owner;
revoke all on function lab_push.slot_state(jsonb[]) from public;
grant execute on function lab_push.slot_state(jsonb[]) to rowcast_owner;
comment on function lab_push.slot_state(jsonb[]) is
  'Renders time-slot:updated; key {"slotId","labId"}.';

select rowcast.attach('lab.slots', 'insert', $$
  select
    'time-slot:updated' as name,
    array['lab:' || n.lab_id] as rooms,
    json_build_object('slotId', n.slot_id, 'labId', n.lab_id) as data,
    'lab_push.slot_state' as render
  from new_rows n
$$);

-- A slot that was given another number or lab is gone from where it was.
select rowcast.attach('lab.slots', 'update', $$
  select
    'time-slot:updated' as name,
    array['lab:' || o.lab_id] as rooms,
    json_build_object('slotId', o.slot_id, 'labId', o.lab_id, 'status', 'closed',
      'availableSpots', 0) as data,
    null as render
  from old_rows o
  where not exists (
    select from new_rows n where n.slot_id = o.slot_id and n.lab_id = o.lab_id
  )
  union all
  select
    'time-slot:updated', array['lab:' || n.lab_id],
    json_build_object('slotId', n.slot_id, 'labId', n.lab_id), 'lab_push.slot_state'
  from new_rows n
  where not exists (
    select from old_rows o
    where o.slot_id = n.slot_id and o.lab_id = n.lab_id
      and o.status = n.status and o.capacity = n.capacity
  )
$$);

select rowcast.attach('lab.slots', 'delete', $$
  select
    'time-slot:updated' as name,
    array['lab:' || o.lab_id] as rooms,
    json_build_object('slotId', o.slot_id, 'labId', o.lab_id, 'status', 'closed',
      'availableSpots', 0) as data
  from old_rows o
$$);

select rowcast.attach('lab.slots', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.slots') as data
$$);
