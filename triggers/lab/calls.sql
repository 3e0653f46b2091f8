-- What the page asks for (rowcast's calls): the list of labs, a lab's week, and a user's bookings
-- and places in line. Each answers with the place in history that it is true at; what happens from
-- there on comes as events. Who may ask for what follows the rooms: who may join lab:1 may ask for
-- its week, who may join user:7 for what is of user 7. Times are in UTC.

create or replace function lab_push.is_signed_in(p_claims jsonb, p_name text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false)
$$;

create or replace function lab_push.claims() returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create or replace function lab_push.utc(p_time timestamptz) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

-- The user who is asked for: the caller, unless another is named whose room the caller may join.
create or replace function lab_push.user_asked_for(p_user_id text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims jsonb := lab_push.claims();
  v_user text := coalesce(p_user_id, v_claims ->> 'sub');
begin
  if not lab_push.may_join_user(v_claims, 'user:' || v_user) then
    raise exception 'no such user for you';
  end if;
  return v_user;
end
$$;

create or replace function lab_push.lab_list()
returns table ("labId" bigint, "orgId" bigint, name text, status text, reason text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select l.lab_id, l.org_id, l.name, l.status, l.status_reason from lab.labs l order by l.lab_id
$$;

-- A lab with its slots from Monday to Sunday, spots left counted, and the caller's bookings of
-- them. week: any of its days; null: the present week, or on a weekend the next.
create or replace function lab_push.lab_week(lab bigint, week date default null) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims jsonb := lab_push.claims();
  v_from timestamptz := date_trunc('week', coalesce(
    week::timestamp, (now() at time zone 'UTC') + interval '2 days'
  )) at time zone 'UTC';
  v_until timestamptz := v_from + interval '7 days';
begin
  if not lab_push.may_join_lab(v_claims, 'lab:' || lab) then
    raise exception 'no such lab for you';
  end if;
  return json_build_object(
    'now', lab_push.utc(now()),
    'from', lab_push.utc(v_from),
    'until', lab_push.utc(v_until),
    'lab', (
      select json_build_object('labId', l.lab_id, 'orgId', l.org_id, 'name', l.name,
        'status', l.status, 'reason', l.status_reason)
      from lab.labs l where l.lab_id = lab_week.lab
    ),
    'slots', (
      select coalesce(json_agg(json_build_object('slotId', s.slot_id, 'labId', s.lab_id,
        'startsAt', lab_push.utc(s.starts_at), 'endsAt', lab_push.utc(s.ends_at),
        'capacity', s.capacity, 'availableSpots', greatest(s.capacity - b.held, 0),
        'status', case
          when s.status = 'closed' then 'closed'
          when s.capacity <= b.held then 'full'
          else 'open'
        end) order by s.starts_at, s.slot_id), '[]')
      from lab.slots s
      cross join lateral (
        select count(*) as held from lab.bookings b
        where b.slot_id = s.slot_id and b.status <> 'cancelled'
      ) b
      where s.lab_id = lab_week.lab and s.starts_at >= v_from and s.starts_at < v_until
    ),
    'bookings', (
      select coalesce(json_agg(json_build_object('bookingId', b.booking_id, 'userId', b.user_id,
        'slotId', b.slot_id, 'labId', b.lab_id, 'status', b.status) order by b.booking_id), '[]')
      from lab.bookings b
      join lab.slots s on s.slot_id = b.slot_id
      where b.user_id = v_claims ->> 'sub' and b.status <> 'cancelled'
        and s.lab_id = lab_week.lab and s.starts_at >= v_from and s.starts_at < v_until
    )
  );
end
$$;

-- A user's bookings that are not cancelled, of slots that end after a time; null: this week's
-- Monday.
create or replace function lab_push.user_bookings(
  user_id text default null,
  since timestamptz default null
)
returns table ("bookingId" bigint, "userId" text, "slotId" bigint, "labId" bigint, status text,
  "startsAt" text, "endsAt" text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_user text := lab_push.user_asked_for(user_bookings.user_id);
begin
  return query
  select b.booking_id, b.user_id, b.slot_id, b.lab_id, b.status,
    lab_push.utc(s.starts_at), lab_push.utc(s.ends_at)
  from lab.bookings b
  join lab.slots s on s.slot_id = b.slot_id
  where b.user_id = v_user and b.status <> 'cancelled' and s.ends_at > coalesce(
    user_bookings.since, date_trunc('week', now() at time zone 'UTC') at time zone 'UTC'
  )
  order by s.starts_at, b.booking_id;
end
$$;

-- The lines that a user stands in, with the place in each: 1 is first.
create or replace function lab_push.user_waitlists(user_id text default null)
returns table ("waitlistId" bigint, "userId" text, "slotId" bigint, "labId" bigint, status text,
  "position" bigint, "startsAt" text, "endsAt" text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_user text := lab_push.user_asked_for(user_waitlists.user_id);
begin
  return query
  select w.waitlist_id, w.user_id, w.slot_id, s.lab_id, w.status,
    (
      select count(*) from lab.waitlist a
      where a.slot_id = w.slot_id and a.status in ('waiting', 'offered')
        and (a.joined_at, a.waitlist_id) <= (w.joined_at, w.waitlist_id)
    ),
    lab_push.utc(s.starts_at), lab_push.utc(s.ends_at)
  from lab.waitlist w
  join lab.slots s on s.slot_id = w.slot_id
  where w.user_id = v_user and w.status in ('waiting', 'offered')
  order by s.starts_at, w.waitlist_id;
end
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'lab_push.is_signed_in(jsonb, text)', 'lab_push.claims()', 'lab_push.utc(timestamptz)',
    'lab_push.user_asked_for(text)', 'lab_push.lab_list()', 'lab_push.lab_week(bigint, date)',
    'lab_push.user_bookings(text, timestamptz)', 'lab_push.user_waitlists(text)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.callable (name, function, may_call) values
  ('lab_list', 'lab_push.lab_list()', 'lab_push.is_signed_in(jsonb, text)'),
  ('lab_week', 'lab_push.lab_week(bigint, date)', 'lab_push.is_signed_in(jsonb, text)'),
  ('user_bookings', 'lab_push.user_bookings(text, timestamptz)',
    'lab_push.is_signed_in(jsonb, text)'),
  ('user_waitlists', 'lab_push.user_waitlists(text)', 'lab_push.is_signed_in(jsonb, text)')
on conflict on constraint callable_pkey do update
set function = excluded.function, may_call = excluded.may_call;
