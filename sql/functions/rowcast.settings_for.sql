-- Which settings of a writer's session a query would change with, each as `(set name=value)`: what a
-- backslash in a string is, and how a date, an interval, bytes or a fraction looks as text. The page
-- joins `day:2026-03-01`, whatever the DateStyle of who writes. Each costs a write up to 1 µs, so only
-- what a query may need is set: the types of all that it handles stand in the view that
-- rowcast.check_query has made of it. Of DateStyle only how dates are written: how they are read, such
-- as 01/02/2026, is left as it is, and so is TimeZone, for that decides which day it is.

create or replace function rowcast.settings_for(p_query text, p_view regclass) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with handled as (
    select distinct t.oid, t.typelem, t.typbasetype
    from pg_rewrite r
    cross join lateral regexp_matches(r.ev_action::text, ':[a-z]*type ([0-9]+)', 'g') m (type)
    join pg_type t on t.oid = m.type[1]::oid
    where r.ev_class = p_view
  )
  select coalesce(array_agg(format('(set %s)', s.setting) order by s.setting), '{}')
  from (values
    ('datestyle=iso', array['date', 'timestamp', 'timestamptz']::regtype[]),
    ('intervalstyle=postgres', array['interval']::regtype[]),
    ('bytea_output=hex', array['bytea']::regtype[]),
    ('extra_float_digits=1', array['float4', 'float8']::regtype[]),
    ('standard_conforming_strings=on', null)
  ) s (setting, types)
  where case
    -- What stands in dollars or behind an E is read alike in any session; U&'' is an error in some.
    when s.types is null then strpos(p_query, chr(92)) > 0 or p_query ~* 'u&'''
    else exists (
      select from handled h where array[h.oid, h.typelem, h.typbasetype] && s.types::oid[]
    )
  end
$$;
revoke all on function rowcast.settings_for(text, regclass) from public;
comment on function rowcast.settings_for(text, regclass) is
  'The settings that a trigger function is given, whose query is in this view.';
