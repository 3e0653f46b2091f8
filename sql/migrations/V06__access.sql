-- Who was sent away, and the counters by which every node hears that its answers may be old.

alter table rowcast.setting
  add column access_version bigint not null default 0,
  add column rules_version bigint not null default 0;
comment on column rowcast.setting.access_version is
  'Counts revocations and changes of rules, in their own transactions; every look at the log reads it.';
comment on column rowcast.setting.rules_version is
  'The access_version of the last change of rules: whoever was admitted before it is asked for again.';

create table rowcast.revocation (
  sub text not null,
  at timestamptz not null default clock_timestamp(),
  version bigint not null default 0,
  constraint revocation_pkey primary key (sub),
  constraint revocation_sub check (octet_length(sub) between 1 and 2048)
);
comment on table rowcast.revocation is
  'Users whose tokens issued up to then no longer count; written by rowcast.revoke.';
comment on column rowcast.revocation.sub is 'The claim sub.';
comment on column rowcast.revocation.at is 'Clock at the commit of the revocation.';
comment on column rowcast.revocation.version is 'The access_version that this revocation made.';
