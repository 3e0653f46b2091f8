-- What waitlists tell: waitlist:position-changed when somebody's position in a line changes, and
-- waitlist:spot-available to whoever is first when a spot is given back (bookings.sql) or when
-- somebody before leaves the line, and to whom the application offers one.
-- Positions need what was and what is, so they are told at commit, in three steps: statements on
-- lab.waitlist note in lab_push.waitlist_change who joined and left; at commit a deferred trigger
-- on that table, ours, compares each line with what it was; it never locks the application's rows.

-- The payload of waitlist:spot-available, if it is true when the event is read: the slot is open,
-- and it is offered to the user; or the user is still waiting, and of the spots that are free and
-- kept for nobody one is left after those who wait before.
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
    and w.user_id = k.key ->> 'userId' and w.slot_id = (k.key ->> 'slotId')::bigint
    and w.status in ('waiting', 'offered')
  join lab.slots s on s.slot_id = w.slot_id and s.status = 'open'
  where w.status = 'offered' or s.capacity
    > (select count(*) from lab.bookings b where b.slot_id = s.slot_id and b.status <> 'cancelled')
    + (select count(*) from lab.waitlist o where o.slot_id = s.slot_id and (
      o.status = 'offered' or (
        o.status = 'waiting' and (o.joined_at, o.waitlist_id) < (w.joined_at, w.waitlist_id)
      )
    ))
$$;

-- The payload of waitlist:position-changed: the position as it is when the event is read. At commit
-- it can't be known: a transaction that could not wait its turn may commit between, and what was
-- counted without it would be told behind what it tells. Of whoever has left the line meanwhile,
-- nothing. Lines are counted once for all, for one may be long.
create or replace function lab_push.waitlist_position(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with line as (
    select w.waitlist_id, w.user_id, w.slot_id,
      row_number() over (partition by w.slot_id order by w.joined_at, w.waitlist_id) as position
    from lab.waitlist w
    where w.status in ('waiting', 'offered') and w.slot_id in (
      select a.slot_id from unnest(p_keys) k (key)
      join lab.waitlist a on a.waitlist_id = (k.key ->> 'waitlistId')::bigint
    )
  )
  select k.key, json_build_object('waitlistId', l.waitlist_id, 'userId', l.user_id,
    'slotId', l.slot_id, 'oldPosition', (k.key ->> 'oldPosition')::bigint,
    'newPosition', l.position)
  from unnest(p_keys) k (key)
  join line l on l.waitlist_id = (k.key ->> 'waitlistId')::bigint
    and l.user_id = k.key ->> 'userId'
$$;

-- Whom the spots of a slot may be for after somebody has left its line; nobody while it has none.
-- Two serializable transactions that read the line they write would fail each other: there it is
-- left to the application to offer the spot.
create or replace function lab_push.next_if_free(p_slot bigint)
returns table (waitlist_id bigint, slot_id bigint, user_id text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select w.waitlist_id, w.slot_id, w.user_id
  from lab.slots s
  cross join lateral lab_push.next_in_line(s.slot_id) w
  where current_setting('transaction_isolation') <> 'serializable'
    and s.slot_id = p_slot and s.status = 'open' and s.capacity > (
      select count(*) from lab.bookings b where b.slot_id = s.slot_id and b.status <> 'cancelled'
    )
$$;

select rowcast.attach('lab.waitlist', 'insert', $$
  select
    'waitlist:spot-available' as name,
    array['user:' || n.user_id] as rooms,
    json_build_object('waitlistId', n.waitlist_id, 'userId', n.user_id, 'slotId', n.slot_id)
      as data,
    'lab_push.spot_available' as render
  from new_rows n
  where n.status = 'offered'
$$);

-- Whoever is offered a spot now, or was given a place in line by another user; and where a place
-- was given up, whoever comes next. Who has accepted has not given it up.
select rowcast.attach('lab.waitlist', 'update', $$
  select
    'waitlist:spot-available' as name,
    array['user:' || w.user_id] as rooms,
    json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id, 'slotId', w.slot_id)
      as data,
    'lab_push.spot_available' as render
  from (
    select n.waitlist_id, n.slot_id, n.user_id
    from new_rows n
    where n.status in ('waiting', 'offered') and not exists (
      select from old_rows o
      where o.waitlist_id = n.waitlist_id and o.slot_id = n.slot_id and o.user_id = n.user_id
        and (n.status = 'waiting' or o.status = 'offered')
    )
    union
    select f.waitlist_id, f.slot_id, f.user_id
    from (
      select distinct o.slot_id
      from old_rows o
      where o.status in ('waiting', 'offered') and not exists (
        select from new_rows n
        where n.waitlist_id = o.waitlist_id and n.slot_id = o.slot_id
          and n.status in ('waiting', 'offered', 'accepted')
      )
    ) l
    cross join lateral lab_push.next_if_free(l.slot_id) f
  ) w
  order by w.waitlist_id
$$);

select rowcast.attach('lab.waitlist', 'delete', $$
  select
    'waitlist:spot-available' as name,
    array['user:' || w.user_id] as rooms,
    json_build_object('waitlistId', w.waitlist_id, 'userId', w.user_id, 'slotId', w.slot_id)
      as data,
    'lab_push.spot_available' as render
  from (
    select distinct o.slot_id from old_rows o where o.status in ('waiting', 'offered')
  ) l
  cross join lateral lab_push.next_if_free(l.slot_id) w
$$);

select rowcast.attach('lab.waitlist', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.waitlist') as data
$$);
