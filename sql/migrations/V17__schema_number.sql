-- Which version of sql/ this schema is of, so that an older program leaves it alone.

alter table rowcast.setting add column schema_number integer not null default 0;
comment on column rowcast.setting.schema_number is
  'Set by rowcast migrate at its end, from sql/number; 0: by a version that did not count yet.';
