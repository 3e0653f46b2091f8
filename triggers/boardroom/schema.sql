-- The boardroom application's tables, as it had them before: users sign in with a session of the
-- application's own, and book boardrooms for themselves and whom they invite.
-- The application grew up on a document store, and its pages still know everything by such ids: 24
-- hexadecimal digits, of which the first eight are seconds.

create schema if not exists boardroom;

create or replace function boardroom.new_id() returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select lpad(to_hex(extract(epoch from clock_timestamp())::bigint), 8, '0')
    || right(replace(gen_random_uuid()::text, '-', ''), 16)
$$;

create table if not exists boardroom.users (
  user_id text not null default boardroom.new_id(),
  name text not null,
  email text not null,
  role text not null default 'user',
  constraint users_pkey primary key (user_id),
  constraint users_email unique (email),
  constraint users_role check (role in ('user', 'admin'))
);

-- Of a session's secret, which the cookie boardroom_session carries, only the hash is kept.
create table if not exists boardroom.sessions (
  secret_hash bytea not null,
  user_id text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '12 hours',
  constraint sessions_pkey primary key (secret_hash),
  constraint sessions_user foreign key (user_id) references boardroom.users on delete cascade
);
create index if not exists sessions_user_id on boardroom.sessions (user_id);

create table if not exists boardroom.boardrooms (
  boardroom_id text not null default boardroom.new_id(),
  name text not null,
  location text not null default '',
  capacity integer not null default 8,
  constraint boardrooms_pkey primary key (boardroom_id),
  constraint boardrooms_capacity check (capacity > 0)
);

create table if not exists boardroom.bookings (
  booking_id text not null default boardroom.new_id(),
  boardroom_id text not null,
  organizer_id text not null,
  title text not null,
  description text not null default '',
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  status text not null default 'confirmed',
  cancelled_by text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint bookings_pkey primary key (booking_id),
  constraint bookings_boardroom foreign key (boardroom_id) references boardroom.boardrooms,
  constraint bookings_organizer foreign key (organizer_id) references boardroom.users,
  constraint bookings_cancelled_by foreign key (cancelled_by) references boardroom.users,
  constraint bookings_status check (status in ('confirmed', 'cancelled')),
  constraint bookings_end_after_start check (ends_at > starts_at)
);
create index if not exists bookings_boardroom_starts_at
on boardroom.bookings (boardroom_id, starts_at);
create index if not exists bookings_organizer_id on boardroom.bookings (organizer_id);

create table if not exists boardroom.attendees (
  booking_id text not null,
  user_id text not null,
  constraint attendees_pkey primary key (booking_id, user_id),
  constraint attendees_booking foreign key (booking_id) references boardroom.bookings
    on update cascade on delete cascade,
  constraint attendees_user foreign key (user_id) references boardroom.users
);
create index if not exists attendees_user_id on boardroom.attendees (user_id);

-- The application's role: it has its own tables and nothing of ours.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'boardroom_app') then
    create role boardroom_app nologin;
  end if;
exception
  when duplicate_object or unique_violation then null;
end
$$;
grant usage on schema boardroom to boardroom_app;
grant select, insert, update, delete, truncate on all tables in schema boardroom to boardroom_app;

-- What our functions read, they read as rowcast_owner.
grant usage on schema boardroom to rowcast_owner;
grant select on all tables in schema boardroom to rowcast_owner;

create schema if not exists boardroom_push authorization rowcast_owner;
