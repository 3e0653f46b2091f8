-- A rule that can't be asked is refused where it is written: one home rule that does not fit would
-- keep everybody out. It is kept by its signature. The trigger's arguments: the rule's column, what
-- the function takes, what it returns. RC003, RC004.

create or replace function rowcast.check_rule() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
-- Or types are written in quotes, and are none of those asked for.
set quote_all_identifiers = off
as $$
declare
  v_function constant regprocedure := to_jsonb(new) ->> tg_argv[0];
  v_rule pg_proc;
begin
  select * into v_rule from pg_proc where oid = v_function;
  if v_rule.prokind is distinct from 'f' or v_rule.proretset
    or oidvectortypes(v_rule.proargtypes) <> tg_argv[1]
    or format_type(v_rule.prorettype, null) <> tg_argv[2]
  then
    raise exception using errcode = 'RC003',
      message = format('%s is no rule for rowcast.%s: it returns %s',
        coalesce(v_function::text, 'null'), tg_table_name,
        coalesce(pg_get_function_result(v_rule.oid), 'nothing')),
      hint = format('A function (%s) returns %s is asked here.', tg_argv[1], tg_argv[2]);
  end if;
  if not (has_function_privilege('rowcast_owner', v_rule.oid, 'execute')
    and has_schema_privilege('rowcast_owner', v_rule.pronamespace, 'usage'))
  then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not execute %s', v_function),
      hint = 'It is who asks: grant it USAGE on the schema and EXECUTE on the function.';
  end if;
  return jsonb_populate_record(new, jsonb_build_object(tg_argv[0], v_function::text));
end
$$;
revoke all on function rowcast.check_rule() from public;
comment on function rowcast.check_rule() is
  'Refuses rules that can''t be asked; SQLSTATE RC003, RC004.';

do $$
declare
  v_rule record;
begin
  for v_rule in
    values
      ('room_rule', 'may_join', 'jsonb, text', 'boolean'),
      ('home_rule', 'rooms_of', 'jsonb', 'text[]'),
      ('session_rule', 'claims_of', 'text', 'jsonb')
  loop
    if not exists (
      select from pg_trigger
      where tgrelid = format('rowcast.%I', v_rule.column1)::regclass
        and tgname = '_100_rowcast_check'
    ) then
      execute format(
        'create trigger _100_rowcast_check before insert or update on rowcast.%I '
        'for each row execute function rowcast.check_rule(%L, %L, %L)',
        v_rule.column1, v_rule.column2, v_rule.column3, v_rule.column4
      );
    end if;
  end loop;
end
$$;
