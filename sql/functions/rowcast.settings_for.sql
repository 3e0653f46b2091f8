-- Which settings of a writer's session a query would change with, each as `(set name=value)`: what
-- a backslash in a string is, how a date, an interval, bytes or a fraction looks as text, and
-- whether the policies of a table that is read are followed or fail the query. The page
-- joins `day:2026-03-01`, whatever the DateStyle of who writes. Each costs a write some
-- microseconds, so only what a query may need is set: the types of all that it handles stand in the
-- view that rowcast.check_query has made of it. Of DateStyle only how dates are written: how they
-- are read, such as 01/02/2026, is left as it is, and so is TimeZone, for that decides which day it
-- is.
-- In JSON a date is as ISO 8601 has it in any session, and most queries write theirs there alone:
-- those go without, unless a cast, a function of somebody's, a view or one that takes any type and
-- returns text may write it in another way.

create or replace function rowcast.settings_for(p_query text, p_view regclass) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select r.oid, r.ev_action::text as nodes from pg_rewrite r where r.ev_class = p_view
  ),
  -- And what these are made of: whole rows of columns, ranges of bounds, arrays of elements.
  handled as (
    select m.type[1]::oid as type
    from tree
    cross join lateral regexp_matches(tree.nodes, ':[a-z]*type ([0-9]+)', 'g') m (type)
    union
    select p.type
    from handled h
    join pg_type t on t.oid = h.type
    cross join lateral (
      values (t.typelem), (t.typbasetype)
      union all
      select a.atttypid from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
      union all
      select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
    ) p (type)
  ),
  called as (
    select m.found[1]::oid as function
    from tree
    cross join lateral regexp_matches(
      tree.nodes, ':(?:funcid|aggfnoid|winfnoid) ([0-9]+)', 'g'
    ) m (found)
    union
    select o.oprcode
    from tree
    cross join lateral regexp_matches(tree.nodes, ':opno ([0-9]+)', 'g') m (found)
    join pg_operator o on o.oid = m.found[1]::oid
  ),
  read as (
    select d.refobjid as relation from tree
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = tree.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjid <> p_view
  ),
  written as (
    select from tree where strpos(tree.nodes, '{COERCEVIAIO') > 0
    union all
    -- Below 16384 are PostgreSQL's own.
    select from called c join pg_proc p on p.oid = c.function
    where p.oid >= 16384
      or p.prorettype = 'cstring'::regtype
      or p.prorettype = 'text'::regtype and exists (
        select from unnest(p.proargtypes) a (type) join pg_type t on t.oid = a.type
        where t.typtype = 'p'
      )
    union all
    select from read r join pg_class c on c.oid = r.relation where c.relkind = 'v'
    union all
    -- A range is text in JSON too.
    select from handled h join pg_range r on h.type in (r.rngtypid, r.rngmultitypid)
  )
  select coalesce(array_agg(format('(set %s)', s.setting) order by s.setting), '{}')
  from (values
    ('datestyle=iso', array['date', 'timestamp', 'timestamptz']::regtype[]),
    ('intervalstyle=postgres', array['interval']::regtype[]),
    ('bytea_output=hex', array['bytea']::regtype[]),
    ('extra_float_digits=1', array['float4', 'float8']::regtype[]),
    ('standard_conforming_strings=on', null),
    ('row_security=on', null)
  ) s (setting, types)
  where case
    -- Off, it makes a query over such a table an error. What a view reads is not known here.
    when s.setting like 'row_security%' then exists (
      select from read r join pg_class c on c.oid = r.relation
      where c.relrowsecurity or c.relkind = 'v'
    )
    -- What stands in dollars or behind an E is read alike in any session; U&'' is an error in some.
    when s.types is null then strpos(p_query, chr(92)) > 0 or p_query ~* 'u&'''
    else exists (select from handled h where h.type = any (s.types))
      and (s.setting not like 'datestyle%' or exists (select from written))
  end
$$;
revoke all on function rowcast.settings_for(text, regclass) from public;
comment on function rowcast.settings_for(text, regclass) is
  'The settings that a trigger function is given, whose query is in this view.';
