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
