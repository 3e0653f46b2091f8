-- Retention: how long the log keeps events, how it forgets, and what readers know of what it forgot.

alter table rowcast.setting
  add column keep_for interval not null default '1 day',
  add column keep_bytes bigint not null default 1073741824,
  add constraint setting_keep_for check (keep_for between '1 minute' and '10 years'),
  add constraint setting_keep_bytes check (keep_bytes >= 1048576);
comment on column rowcast.setting.keep_for is
  'Events are kept this long, and a quarter longer at most, unless keep_bytes is reached before.';
comment on column rowcast.setting.keep_bytes is
  'The log with its indexes takes this many bytes, whether or not anybody serves this database.';

-- What was forgotten. A sequence is read outside snapshots: what is set is seen at once, even by a
-- statement that began before. Both are written before a leaf is emptied, and read after a scan.
create sequence rowcast.horizon as bigint minvalue 1 start 1 no cycle cache 1;
comment on sequence rowcast.horizon is 'Every event that was ever forgotten has an xid below it.';
create sequence rowcast.truncation as bigint minvalue 1 start 1 no cycle cache 1;
comment on sequence rowcast.truncation is
  'Number of the last truncation that was begun: tells whether rowcast.forgotten is up to date.';

create table rowcast.forgotten (
  truncation bigint not null,
  seen pg_snapshot not null
);
create unique index forgotten_is_one_row on rowcast.forgotten ((true));
insert into rowcast.forgotten values (0, '1:1:');
comment on table rowcast.forgotten is
  'One row: a snapshot that sees every event that was forgotten up to this truncation.';

create table rowcast.leaf (
  leaf integer not null,
  turn bigint,
  entered_at timestamptz,
  left_at timestamptz,
  refused_at timestamptz,
  constraint leaf_pkey primary key (leaf),
  constraint leaf_is_one_of_six check (leaf between 0 and 5)
);
insert into rowcast.leaf (leaf) values (0), (1), (2), (3), (4), (5);
comment on table rowcast.leaf is
  'What rowcast.rotate_log() saw of the leaves of the log; it may notice late, never early.';
comment on column rowcast.leaf.turn is 'Id of its events divided by 2^20; null: never written.';
comment on column rowcast.leaf.entered_at is 'Since when it is, or was, the leaf that is written.';
comment on column rowcast.leaf.left_at is 'When another took over; null: it is written now.';
comment on column rowcast.leaf.refused_at is
  'Since when somebody holds a lock on it and keeps it from being emptied.';

-- Writers bound the log when nobody serves the database: from this id on the next one looks.
create sequence rowcast.bound as bigint minvalue 1 start 1 no cycle cache 1;
comment on sequence rowcast.bound is 'Id from which the next writer calls rowcast.bound_log().';
select setval('rowcast.bound', 4096);

create table rowcast.overdue (
  xid xid8 not null,
  constraint overdue_pkey primary key (xid)
);
comment on table rowcast.overdue is
  'Transactions that rotate the log when they commit, for want of a service; else empty.';

-- Append, then truncate: there is nothing to vacuum, and a vacuum would keep a leaf from being
-- emptied for as long as it takes. (One against wraparound would come all the same.)
alter table rowcast.event_0 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table rowcast.event_1 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table rowcast.event_2 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table rowcast.event_3 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table rowcast.event_4 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table rowcast.event_5 set (autovacuum_enabled = off, toast.autovacuum_enabled = off);
