-- What [[:cntrl:]] is, PostgreSQL takes from the number of a character alone: up to 31, and 127 to 159. That
-- is right in UTF8 and in the encodings of ISO. In WIN1252, WIN866 and other encodings of one byte those are the
-- euro sign, quotes or letters, and in SQL_ASCII bytes of most letters: there only what is ASCII counts.

alter domain rowcast.name drop constraint name_has_no_control_characters;
alter domain rowcast.name add constraint name_has_no_control_characters check (
  value !~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
    then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
);

alter domain rowcast.rooms drop constraint rooms_have_no_control_characters;
alter domain rowcast.rooms add constraint rooms_have_no_control_characters check (
  array_to_string(value, '') !~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
    then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
);

alter table rowcast.room_rule
  drop constraint room_rule_pattern,
  add constraint room_rule_pattern check (
    octet_length(pattern) between 1 and 200 and position('*' in rtrim(pattern, '*')) = 0
    and pattern !~ '[*][*]$' and pattern !~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
      then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
  );

alter table rowcast.reader
  drop constraint reader_name,
  add constraint reader_name check (
    octet_length(name) between 1 and 200 and name !~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
      then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
  );
