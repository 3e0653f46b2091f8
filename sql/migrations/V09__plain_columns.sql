-- Domains on the log's columns cost every write about 3 µs: their checks are set up anew by each
-- statement. The bounds stay what they are, and so do the domains that say them: who writes checks
-- (see rowcast.checked_name), and a reader takes what breaks them for lost.
-- No row is written anew: a domain is stored as its base type.

alter table rowcast.event
  alter column channel type text,
  alter column name type text,
  alter column rooms type text[],
  alter column data type json;
comment on column rowcast.event.channel is 'Within the bounds of the domain rowcast.name.';
comment on column rowcast.event.name is 'Within the bounds of the domain rowcast.name.';
comment on column rowcast.event.rooms is
  'Who may hear it; the room * is everybody who is connected. Within the bounds of rowcast.rooms.';
comment on column rowcast.event.data is
  'The payload, or the key of a state event. Within the bounds of rowcast.payload.';
