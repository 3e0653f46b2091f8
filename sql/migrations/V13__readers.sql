-- Durable names of subscribers, and how far each has come.

alter table rowcast.setting
  add column reader_keep interval not null default '7 days',
  add column readers_per_user integer not null default 100,
  add constraint setting_reader_keep check (reader_keep between '1 second' and '10 years'),
  add constraint setting_readers_per_user check (readers_per_user >= 0);
comment on column rowcast.setting.reader_keep is
  'A reader is forgotten when its place was not written for this long.';
comment on column rowcast.setting.readers_per_user is
  'Readers that one user (claim sub) may have: each takes a row, whoever makes up the names.';

-- Half of each page is left free: a place is written again and again, and then in the same page,
-- without a word to the index. For that, no index may hold anything but the key.
create table rowcast.reader (
  sub text not null,
  name text not null,
  bookmark text not null,
  at timestamptz not null default clock_timestamp(),
  constraint reader_pkey primary key (sub, name),
  constraint reader_sub check (octet_length(sub) between 1 and 2048),
  constraint reader_name check (octet_length(name) between 1 and 200 and name !~ '[[:cntrl:]]'),
  constraint reader_bookmark check (octet_length(bookmark) between 1 and 512)
) with (fillfactor = 50);
comment on table rowcast.reader is
  'Durable readers: up to where each has acknowledged what it was sent. See rowcast.acknowledge.';
comment on column rowcast.reader.sub is 'The claim sub of the user whose it is.';
comment on column rowcast.reader.name is 'As its user calls it.';
comment on column rowcast.reader.bookmark is 'It resumes from here unless it brings a bookmark.';
comment on column rowcast.reader.at is 'Clock when the place was written last.';
