-- The event log: the truth of what is to be pushed. A row is committed with the change it tells of.

-- The bounds that protect every reader. They are domains, so that a lossy trigger meets them while
-- it computes its events, inside its safety net, and not at the insert.
create domain rowcast.name as text
  constraint name_is_bounded check (octet_length(value) between 1 and 200)
  constraint name_has_no_control_characters check (value !~ '[[:cntrl:]]');
comment on domain rowcast.name is
  'Name of an event or a channel: 1 to 200 bytes, no control characters.';

create domain rowcast.rooms as text[]
  constraint rooms_are_named check (cardinality(value) > 0 and array_position(value, null) is null)
  constraint rooms_are_bounded check (octet_length(array_to_string(value, '')) <= 65536)
  constraint rooms_have_no_control_characters check (array_to_string(value, '') !~ '[[:cntrl:]]');
comment on domain rowcast.rooms is
  'The rooms of one event: at least one, together at most 65,536 bytes, no control characters.';

create domain rowcast.payload as json
  constraint payload_is_bounded check (octet_length(value::text) <= 1048576);
comment on domain rowcast.payload is 'What the browser gets as data: at most 1 MiB of JSON text.';

-- Cache 1: with a cache, order of id would not be order of commit for one row.
create sequence rowcast.event_id_seq as bigint cache 1;

-- A fixed ring of six leaves of 2^20 ids each. The leaf follows from the id alone, so a writer
-- reads nothing to find it, and rotation is a TRUNCATE of a leaf that nobody writes.
create table rowcast.event (
  id bigint not null default nextval('rowcast.event_id_seq'),
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  channel rowcast.name not null,
  name rowcast.name not null,
  rooms rowcast.rooms not null,
  data rowcast.payload,
  render text
) partition by list (((id >> 20) % 6));
comment on table rowcast.event is 'The event log. To push an event is to insert a row here.';
comment on column rowcast.event.id is 'For one row of the application, order of id is order of commit.';
comment on column rowcast.event.xid is 'Top-level transaction, 64 bit; what a bookmark is compared with.';
comment on column rowcast.event.at is 'Clock at the insert; for measuring, never for order.';
comment on column rowcast.event.rooms is 'Who may hear it; the room * is everybody who is connected.';
comment on column rowcast.event.data is 'The payload, or the key of a state event.';
comment on column rowcast.event.render is
  'A state event: the function (jsonb[]) returns table (key jsonb, data json) that turns keys into '
  'payloads when the log is read.';

create table rowcast.event_0 partition of rowcast.event for values in (0);
create table rowcast.event_1 partition of rowcast.event for values in (1);
create table rowcast.event_2 partition of rowcast.event for values in (2);
create table rowcast.event_3 partition of rowcast.event for values in (3);
create table rowcast.event_4 partition of rowcast.event for values in (4);
create table rowcast.event_5 partition of rowcast.event for values in (5);
create index event_xid on rowcast.event (xid);

create type rowcast.emission as (
  channel rowcast.name,
  name rowcast.name,
  rooms rowcast.rooms,
  data rowcast.payload,
  render text
);
comment on type rowcast.emission is 'An event as an attached query computes it, before it has an id.';

create table rowcast.channel (
  name rowcast.name,
  delivery text not null default 'log',
  rooms text[],
  event text,
  paused boolean not null default false,
  constraint channel_pkey primary key (name),
  constraint channel_delivery check (delivery in ('log', 'announce', 'notify')),
  constraint channel_notify_needs_templates
    check (delivery <> 'notify' or (cardinality(rooms) > 0 and event is not null)),
  constraint channel_is_not_the_doorbell check (name <> 'rowcast'),
  constraint channel_fits_listen check (delivery = 'log' or octet_length(name) <= 63)
);
comment on table rowcast.channel is
  'How a channel is delivered. A channel without a row is delivered through the log.';
comment on column rowcast.channel.delivery is
  'log: through the event log. announce: the same, and NOTIFY for other programs. '
  'notify: pushes what existing triggers NOTIFY, at most once, without resume.';
comment on column rowcast.channel.rooms is
  'For notify: templates such as user:{userId}, filled from the fields of a JSON payload.';
comment on column rowcast.channel.event is
  'For notify: the event''s name or a template such as {type} or booking:{action}.';
comment on column rowcast.channel.paused is
  'Its events are held back; when it is let go, everybody is told of a gap.';

create table rowcast.failure (
  id bigint generated always as identity,
  at timestamptz not null default clock_timestamp(),
  channel text not null,
  relation text not null,
  operation text not null,
  sqlstate text not null,
  message text not null,
  context text,
  constraint failure_pkey primary key (id)
);
comment on table rowcast.failure is
  'Errors of lossy triggers: the application''s write went through, its events are lost, '
  'and everybody was told of a gap.';

create table rowcast.attached (
  relation regclass not null,
  operation text not null,
  mode text not null,
  query text not null,
  function_name text not null,
  constraint attached_pkey primary key (relation, operation),
  constraint attached_operation check (operation in ('insert', 'update', 'delete', 'truncate')),
  constraint attached_mode check (mode in ('lossy', 'strict'))
);
comment on table rowcast.attached is 'What rowcast.attach was told; read it through rowcast.attachment.';
