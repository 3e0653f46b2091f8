-- What clients may ask for: functions that the DBA lists, and the bounds of each.

create table rowcast.callable (
  name text not null,
  function regprocedure not null,
  may_call regprocedure,
  writes boolean not null default false,
  timeout interval not null default '2 seconds',
  max_rows integer not null default 1000,
  max_bytes integer not null default 1048576,
  constraint callable_pkey primary key (name),
  -- It stands in a path as it is.
  constraint callable_name check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$'),
  constraint callable_timeout check (timeout between '1 millisecond' and '1 day'),
  constraint callable_max_rows check (max_rows > 0),
  constraint callable_max_bytes check (max_bytes > 0)
);
comment on table rowcast.callable is
  'Functions that clients may call by name; what is not listed does not exist for them.';
comment on column rowcast.callable.name is 'As callers know it: letters, digits and _ . -';
comment on column rowcast.callable.function is
  'Takes its arguments by name and runs as rowcast_owner, with the claims in request.jwt.claims.';
comment on column rowcast.callable.may_call is
  'Function (claims jsonb, name text) returns boolean; null: everybody whom the service lets in.';
comment on column rowcast.callable.writes is 'Whether it may write; otherwise it can''t.';
comment on column rowcast.callable.timeout is
  'How long it may run; calls.timeout_ms of the service, where that is less.';
comment on column rowcast.callable.max_rows is 'Of a set; more is an error, never cut short.';
comment on column rowcast.callable.max_bytes is
  'Of the answer as JSON; calls.result_bytes of the service, where that is less.';
