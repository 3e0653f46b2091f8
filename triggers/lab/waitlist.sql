-- What waitlists tell: waitlist:position-changed when somebody's position in a line changes, and
-- waitlist:spot-available to whom a freed spot is offered (bookings.sql says when).
-- Positions need what was and what is, so they are told at commit, in three steps: statements on
-- lab.waitlist note in lab_push.waitlist_change who joined and left; at commit a deferred trigger
-- on that table, ours, compares each line with what it was; it never locks the application's rows.

-- The payload of waitlist:spot-available, if it is true when the event is read: the slot is open,
-- the user is still waiting, and of the spots that are free and kept for nobody one is left after
-- those who wait before.
create or replace function lab_push.spot_available(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id,
    'slotId', w.slot_id, 'labId', s.lab_id)
  from unnest(p_keys) k (key)
  join lab.waitlist w on w.waitlist_id = (k.key ->> 'waitlistId')::bigint
    and w.slot_id = (k.key ->> 'slotId')::bigint and w.status = 'waiting'
  join lab.slots s on s.slot_id = w.slot_id and s.status = 'open'
  where s.capacity
    > (select count(*) from lab.bookings b where b.slot_id = s.slot_id and b.status <> 'cancelled')
    + (select count(*) from lab.waitlist o where o.slot_id = s.slot_id and (
      o.status = 'offered' or (
        o.status = 'waiting' and (o.joined_at, o.waitlist_id) < (w.joined_at, w.waitlist_id)
      )
    ))
$$;

-- The payload of waitlist:position-changed where the new position can't be known at commit.
create or replace function lab_push.waitlist_position(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id,
    'slotId', w.slot_id, 'oldPosition', (k.key ->> 'oldPosition')::bigint,
    'newPosition', line.position)
  from unnest(p_keys) k (key)
  join lab.waitlist w on w.waitlist_id = (k.key ->> 'waitlistId')::bigint
    and w.status in ('waiting', 'offered')
  cross join lateral (
    select count(*) as position from lab.waitlist a
    where a.slot_id = w.slot_id and a.status in ('waiting', 'offered')
      and (a.joined_at, a.waitlist_id) <= (w.joined_at, w.waitlist_id)
  ) line
  where line.position <> (k.key ->> 'oldPosition')::bigint
$$;

select rowcast.attach('lab.waitlist', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.waitlist') as data
$$);
