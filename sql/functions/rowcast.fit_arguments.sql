-- Fits a JSON object to a function's arguments, by name and type: where the values come from, and
-- the call that takes them from there. Or a problem, in words for the caller that hold names of
-- arguments and types, but no values.

create or replace function rowcast.fit_arguments(
  p_function regprocedure,
  p_args text,
  out problem text,
  out source text,
  out call text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function pg_proc;
  v_given text[];
  v_argument record;
  v_columns text[] := '{}';
  v_actuals text[] := '{}';
begin
  select * into v_function from pg_proc where oid = p_function;
  source := '(values ($1)) a (args)';
  begin
    v_given := array(select jsonb_object_keys(p_args::jsonb));
  exception
    when others then
      problem := 'the arguments are to be one JSON object, of text that PostgreSQL can hold';
      return;
  end;
  if v_function.pronargs = 1 and v_function.proargnames is null then
    call := format('%s(a.args::%s)', p_function::oid::regproc,
      v_function.proargtypes[0]::regtype);
    return;
  end if;

  for v_argument in
    select a.name, format_type(a.type, null) as type,
      row_number() over (order by a.place) > v_function.pronargs - v_function.pronargdefaults
        as may_lack
    from unnest(
      coalesce(v_function.proallargtypes, v_function.proargtypes::oid[]),
      v_function.proargnames,
      coalesce(v_function.proargmodes, array_fill('i'::"char", array[v_function.pronargs::integer]))
    ) with ordinality a (type, name, mode, place)
    where a.mode in ('i', 'b')
    order by a.place
  loop
    if v_argument.name = any (v_given) then
      v_given := array_remove(v_given, v_argument.name);
      v_columns := v_columns || format('%I %s', v_argument.name, v_argument.type);
      v_actuals := v_actuals || format('%1$I => a.%1$I', v_argument.name);
    elsif not v_argument.may_lack then
      problem := format('the argument %s is missing', quote_ident(v_argument.name));
      return;
    end if;
  end loop;
  if cardinality(v_given) > 0 then
    problem := format('there is no argument %s', quote_ident(left(v_given[1], 63)));
    return;
  end if;
  if cardinality(v_columns) > 0 then
    source := format('json_to_record($1::json) a (%s)', array_to_string(v_columns, ', '));
  end if;
  call := format('%s(%s)', p_function::oid::regproc, array_to_string(v_actuals, ', '));
  problem := rowcast.misfit(v_columns, p_args);
end
$$;
revoke all on function rowcast.fit_arguments(regprocedure, text) from public;
comment on function rowcast.fit_arguments(regprocedure, text) is
  'From where and how to call a function with arguments from JSON, or what is wrong with them.';
