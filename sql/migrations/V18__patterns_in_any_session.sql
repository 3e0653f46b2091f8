-- Where a role or a database has standard_conforming_strings off, V03 read the pattern of this constraint
-- without its backslashes, and every room rule was refused. This one has none.

alter table rowcast.room_rule
  drop constraint room_rule_pattern,
  add constraint room_rule_pattern check (
    octet_length(pattern) between 1 and 200 and position('*' in rtrim(pattern, '*')) = 0
    and pattern !~ '[*][*]$' and pattern !~ '[[:cntrl:]]'
  );
