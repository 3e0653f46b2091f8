-- What a page asks for before it listens (rowcast's calls): the bookings of some days, as events
-- have them, with the place in history that they are true at. Everybody who is signed in may ask.

create or replace function boardroom_push.is_signed_in(p_claims jsonb, p_name text)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_claims ->> 'sub' <> '', false)
$$;

create or replace function boardroom_push.booking_list(
  since timestamptz default null,
  until timestamptz default null
)
returns setof json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select boardroom_push.booking(b, array(
    select a.user_id from boardroom.attendees a where a.booking_id = b.booking_id
  ))
  from boardroom.bookings b
  where b.status = 'confirmed' and b.ends_at > coalesce(booking_list.since, now())
    and b.starts_at < coalesce(booking_list.until, 'infinity')
  order by b.starts_at, b.booking_id
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'boardroom_push.is_signed_in(jsonb, text)',
    'boardroom_push.booking_list(timestamptz, timestamptz)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;

insert into rowcast.callable (name, function, may_call) values
  ('booking_list', 'boardroom_push.booking_list(timestamptz, timestamptz)',
    'boardroom_push.is_signed_in(jsonb, text)')
on conflict on constraint callable_pkey do update
set function = excluded.function, may_call = excluded.may_call;
