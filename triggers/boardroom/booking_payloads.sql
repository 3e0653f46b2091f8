-- What a booking looks like to the front end: the whole of it, with boardroom, organizer and
-- attendees in place of their ids. A field added to boardroom_push.booking is in all payloads.

create or replace function boardroom_push.iso(p_time timestamptz) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create or replace function boardroom_push.person(p_user boardroom.users) returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object('_id', p_user.user_id, 'name', p_user.name, 'email', p_user.email)
$$;

create or replace function boardroom_push.booking(
  p_booking boardroom.bookings,
  p_attendees text[]
) returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    '_id', p_booking.booking_id,
    'title', p_booking.title,
    'description', p_booking.description,
    'boardroom', (
      select json_build_object('_id', r.boardroom_id, 'name', r.name, 'location', r.location,
        'capacity', r.capacity)
      from boardroom.boardrooms r where r.boardroom_id = p_booking.boardroom_id
    ),
    'organizer', (
      select boardroom_push.person(u) from boardroom.users u
      where u.user_id = p_booking.organizer_id
    ),
    'attendees', (
      select coalesce(json_agg(boardroom_push.person(u) order by u.name, u.user_id), '[]')
      from boardroom.users u where u.user_id = any (p_attendees)
    ),
    'startTime', boardroom_push.iso(p_booking.starts_at),
    'endTime', boardroom_push.iso(p_booking.ends_at),
    'status', p_booking.status,
    'createdAt', boardroom_push.iso(p_booking.created_at),
    'updatedAt', boardroom_push.iso(p_booking.updated_at)
  )
$$;

-- Renders booking-created, booking-updated and booking-cancelled when they are read: the key is the
-- payload but for the booking, which is put in as it is then. Nothing of one that is gone.
create or replace function boardroom_push.booking_state(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, (jsonb_build_object(
    'booking', boardroom_push.booking(b, array(
      select a.user_id from boardroom.attendees a where a.booking_id = b.booking_id
    )),
    'boardroomId', b.boardroom_id
  ) || (k.key - 'bookingId'))::json
  from unnest(p_keys) k (key)
  join boardroom.bookings b on b.booking_id = k.key ->> 'bookingId'
$$;

-- In whose name this is done, for cancelledBy and deletedBy: of the user whom the application has
-- named (set local app.user_id = '...'), else of the one in the column. Nobody named: an admin, who
-- needs no application.
create or replace function boardroom_push.acting_as(p_column text) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select u.role from boardroom.users u
    where u.user_id = coalesce(nullif(current_setting('app.user_id', true), ''), p_column)
  ), 'admin')
$$;

-- A booking that is gone, with what booking-deleted says of it under "told", less its attendees:
-- found when it is deleted, for the same transaction may go on to delete its boardroom, its
-- organizer, and who does this.
create or replace function boardroom_push.gone(p_booking jsonb) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
-- A serializable transaction that scans a table conflicts with all who write it.
set enable_seqscan = off
as $$
  select p_booking || jsonb_build_object('told', jsonb_build_object(
    'booking', boardroom_push.booking(
      jsonb_populate_record(null::boardroom.bookings, p_booking), '{}'
    ),
    'deletedBy', boardroom_push.acting_as(null)
  ))
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'boardroom_push.iso(timestamptz)', 'boardroom_push.person(boardroom.users)',
    'boardroom_push.booking(boardroom.bookings, text[])', 'boardroom_push.booking_state(jsonb[])',
    'boardroom_push.acting_as(text)', 'boardroom_push.gone(jsonb)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;
