-- A function that is listed can be called: its arguments have names and types of their own, what it
-- returns can become JSON, and rowcast_owner may execute it. RC003, RC004 otherwise. It is kept by
-- its signature.

create or replace function rowcast.check_callable() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_listed constant regprocedure := new.function;
  v_asked constant regprocedure := new.may_call;
  v_function pg_proc;
  v_rule pg_proc;
  v_wrong text;
  v_closed text;
begin
  new.function := v_listed;
  new.may_call := v_asked;
  select * into v_function from pg_proc where oid = v_listed;
  select case
    when v_function.prokind is distinct from 'f' then 'it is no plain function'
    when v_function.provariadic <> 0 then 'it is variadic'
    when v_function.prorettype = 'record'::regtype and v_function.proallargtypes is null
      then 'it returns record without naming columns'
    when exists (
      select from unnest(v_function.proargtypes::oid[] || v_function.prorettype) t (oid)
      join pg_type on pg_type.oid = t.oid
      where typtype = 'p' and t.oid not in ('void'::regtype, 'record'::regtype)
    ) then 'it has a pseudo-type'
    when v_function.pronargs = 1 and v_function.proargnames is null
      and v_function.proargtypes[0] in ('json'::regtype, 'jsonb'::regtype) then null
    when exists (
      select from generate_series(1, coalesce(
        cardinality(v_function.proallargtypes), v_function.pronargs)) n
      where coalesce(v_function.proargmodes[n], 'i') in ('i', 'b')
        and coalesce(v_function.proargnames[n], '') = ''
    ) then 'an argument has no name'
  end into v_wrong;
  if new.may_call is not null then
    select * into v_rule from pg_proc where oid = v_asked;
    if v_rule.prorettype is distinct from 'boolean'::regtype or v_rule.prokind <> 'f'
      or v_rule.proretset or v_rule.pronargs <> 2
      or (v_rule.proargtypes[0], v_rule.proargtypes[1]) <> ('jsonb'::regtype, 'text'::regtype) then
      v_wrong := 'may_call is no function (claims jsonb, name text) returns boolean';
    end if;
  end if;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('%s can''t be called as %s: %s', coalesce(new.function, 'null'),
        coalesce(new.name, 'null'), v_wrong),
      hint = 'List a function whose arguments all have names, or one with a single json or jsonb '
        'without a name, which then gets all of them.';
  end if;

  select string_agg(p.oid::regprocedure::text, ', ') into v_closed
  from pg_proc p
  where p.oid in (v_listed, v_asked)
    and not (has_function_privilege('rowcast_owner', p.oid, 'execute')
      and has_schema_privilege('rowcast_owner', p.pronamespace, 'usage'));
  if v_closed is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not execute %s', v_closed),
      hint = 'It is who calls: grant it USAGE on the schema and EXECUTE on the function.';
  end if;
  return new;
end
$$;
revoke all on function rowcast.check_callable() from public;
comment on function rowcast.check_callable() is
  'Refuses to list what can''t be called; SQLSTATE RC003, RC004.';

do $$
begin
  if not exists (
    select from pg_trigger
    where tgrelid = 'rowcast.callable'::regclass and tgname = '_100_rowcast_check'
  ) then
    create trigger _100_rowcast_check before insert or update on rowcast.callable
    for each row execute function rowcast.check_callable();
  end if;
end
$$;
