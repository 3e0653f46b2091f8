-- The doorbell's flag, and what a DBA sets from SQL.

-- 1: a listener sleeps, and writers ring. 0: somebody looks anyway, or nobody listens at all.
-- A sequence, for that is PostgreSQL's one shared variable outside transactions: what is set is seen
-- at once at every isolation level. Logged: an unlogged one lost wake-ups.
create sequence rowcast.doorbell as smallint minvalue 0 maxvalue 1 start 0 no cycle cache 1;

create table rowcast.setting (
  doorbell text,
  constraint setting_doorbell check (doorbell in ('adaptive', 'always', 'never'))
);
create unique index setting_is_one_row on rowcast.setting ((true));
insert into rowcast.setting default values;
comment on table rowcast.setting is 'One row: what holds for this database, whoever serves it.';
comment on column rowcast.setting.doorbell is
  'Set by rowcast.set_doorbell: adaptive, always or never; null: as the service is configured.';

-- 1 once a channel was ever announced; until then no write has to look the channels up. It may stay
-- 1 when the last one is gone: that costs a lookup, and a 0 too early would lose announcements.
create sequence rowcast.announcing as smallint minvalue 0 maxvalue 1 start 0 no cycle cache 1;
select setval('rowcast.announcing', 1)
where exists (select from rowcast.channel where delivery = 'announce');
