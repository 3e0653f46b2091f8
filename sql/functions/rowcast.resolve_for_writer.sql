-- Names of functions mean what they mean to whoever writes them, by their search_path: so this one pins
-- none, and qualifies all that it says instead. It leaves the oid, which the check that comes next
-- turns into a signature with every name qualified. Its arguments: the columns.

create or replace function rowcast.resolve_for_writer() returns trigger
language plpgsql
as $$
declare
  v_column pg_catalog.text;
  v_function pg_catalog.regprocedure;
begin
  foreach v_column in array tg_argv loop
    v_function := pg_catalog.to_jsonb(new) operator(pg_catalog.->>) v_column;
    new := pg_catalog.jsonb_populate_record(new, pg_catalog.jsonb_build_object(
      v_column, v_function::pg_catalog.oid::pg_catalog.text));
  end loop;
  return new;
end
$$;
revoke all on function rowcast.resolve_for_writer() from public;
comment on function rowcast.resolve_for_writer() is
  'Finds the functions of a row by the search_path of whoever writes it.';

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
