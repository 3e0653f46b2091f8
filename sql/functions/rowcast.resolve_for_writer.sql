-- Names of functions mean what they mean to whoever writes them, by their search_path: so this one
-- pins none, and qualifies all that it says instead. It leaves the oid, which the check that comes
-- next turns into a signature with every name qualified. PostgreSQL's words for what it can't read
-- as one, "expected a left parenthesis", say neither where nor what instead. Its arguments: the
-- columns. RC003.

create or replace function rowcast.resolve_for_writer() returns trigger
language plpgsql
as $$
declare
  v_column pg_catalog.text;
  v_text pg_catalog.text;
  v_function pg_catalog.regprocedure;
begin
  foreach v_column in array tg_argv loop
    v_text := pg_catalog.to_jsonb(new) operator(pg_catalog.->>) v_column;
    begin
      v_function := v_text;
    exception
      when data_exception or syntax_error_or_access_rule_violation or invalid_schema_name then
        raise exception using errcode = 'RC003',
          message = pg_catalog.format('rowcast.%s.%s can''t be %L: %s',
            tg_table_name, v_column, v_text, sqlerrm),
          hint = 'Write the function''s name and the types of its arguments, each with its schema: '
            '''shop.may_join(jsonb, text)''.';
    end;
    new := pg_catalog.jsonb_populate_record(new, pg_catalog.jsonb_build_object(
      v_column, v_function::pg_catalog.oid::pg_catalog.text));
  end loop;
  return new;
end
$$;
revoke all on function rowcast.resolve_for_writer() from public;
comment on function rowcast.resolve_for_writer() is
  'Finds the functions of a row by the search_path of whoever writes it; SQLSTATE RC003.';

do $$
declare
  v_rule record;
begin
  for v_rule in
    values
      ('room_rule', '''may_join'''),
      ('home_rule', '''rooms_of'''),
      ('session_rule', '''claims_of'''),
      ('callable', '''function'', ''may_call''')
  loop
    if not exists (
      select from pg_trigger
      where tgrelid = format('rowcast.%I', v_rule.column1)::regclass
        and tgname = '_050_rowcast_resolve'
    ) then
      execute format(
        'create trigger _050_rowcast_resolve before insert or update on rowcast.%I '
        'for each row execute function rowcast.resolve_for_writer(%s)',
        v_rule.column1, v_rule.column2
      );
    end if;
  end loop;
end
$$;
