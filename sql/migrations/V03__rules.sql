-- Who may hear what. The service asks; the functions that answer belong to the system's own SQL.

create table rowcast.room_rule (
  pattern text not null,
  may_join regprocedure not null,
  constraint room_rule_pkey primary key (pattern),
  constraint room_rule_pattern check (
    octet_length(pattern) between 1 and 200 and position('*' in rtrim(pattern, '*')) = 0
    and pattern !~ '\*\*$' and pattern !~ '[[:cntrl:]]'
  )
);
comment on table rowcast.room_rule is
  'A pattern is a literal, or a prefix followed by *. The longest that fits decides; none, no entry.';
comment on column rowcast.room_rule.may_join is 'Function (claims jsonb, room text) returns boolean.';

create table rowcast.home_rule (
  rooms_of regprocedure not null,
  constraint home_rule_pkey primary key (rooms_of)
);
comment on table rowcast.home_rule is
  'Functions (claims jsonb) returns text[]: the rooms a user is in from the start.';

create table rowcast.session_rule (
  cookie text not null,
  claims_of regprocedure not null,
  constraint session_rule_pkey primary key (cookie)
);
comment on table rowcast.session_rule is
  'Functions (text) returns jsonb: exchange an application''s own session cookie for claims with '
  'exp, or null.';
