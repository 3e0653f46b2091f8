-- Text with {names} in it, each of which stands for a part. In one pass: parts are SQL that
-- somebody wrote, and may contain what stands for another part.

create or replace function rowcast.fill_in(p_template text, p_parts jsonb) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(case place % 2 when 1 then part else p_parts ->> part end, '' order by place)
  from regexp_split_to_table(p_template, '[{}]') with ordinality t (part, place)
$$;
revoke all on function rowcast.fill_in(text, jsonb) from public;
comment on function rowcast.fill_in(text, jsonb) is
  'A template with its {names} replaced, for the text of a trigger function.';
