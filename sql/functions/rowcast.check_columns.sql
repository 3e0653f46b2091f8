-- Refuses a query whose columns are not those of an event, and returns them. Asks the view that
-- rowcast.check_query has made.

create or replace function rowcast.check_columns(p_table regclass, p_operation text) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_wrong text;
begin
  select array_agg(attname::text) into v_columns
  from pg_attribute where attrelid = 'pg_temp.rowcast_checked'::regclass and attnum > 0;

  select format(
    '%s is %s, not %s', w.name, coalesce(format_type(a.atttypid, null), 'missing'), w.types
  )
  into v_wrong
  from (values
    ('name', 'text', true), ('rooms', 'text[]', true), ('data', 'json or jsonb', true),
    ('channel', 'text', false), ('render', 'text', false)
  ) w (name, types, required)
  left join pg_attribute a
    on a.attrelid = 'pg_temp.rowcast_checked'::regclass and a.attname = w.name and a.attnum > 0
  where (a.attname is null and w.required)
    or (a.attname is not null and format_type(a.atttypid, null) not in
      (select trim(t) from regexp_split_to_table(w.types, ' or ') t
       union select 'character varying' where w.types = 'text'))
  limit 1;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s: column %s', p_operation, p_table, v_wrong),
      hint = 'It has to return name text, rooms text[], data json, and may return channel text and '
        'render text.';
  end if;
  select string_agg(c, ', ') into v_wrong
  from unnest(v_columns) c where c not in ('name', 'rooms', 'data', 'channel', 'render');
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s returns columns nobody reads: %s',
        p_operation, p_table, v_wrong),
      hint = 'Put what the browser should get into data.';
  end if;
  return v_columns;
end
$$;
revoke all on function rowcast.check_columns(regclass, text) from public;
comment on function rowcast.check_columns(regclass, text) is
  'The columns of the query that rowcast.check_query checks; SQLSTATE RC003 if they are no '
  'event''s.';
