-- A trigger that fails at every write must not fill the disk with the news of it.
alter table rowcast.setting
  add column keep_failures integer not null default 10000,
  add constraint setting_keep_failures check (keep_failures >= 0);
comment on column rowcast.setting.keep_failures is
  'Of rowcast.failure so many rows are kept, the youngest.';
