-- Second of the two statements of a call, after rowcast.begin_call, which has said by what name:
-- calls the function with arguments from a JSON object, and returns its answer as JSON with the
-- place in history that it is true at. No row if there is nothing to call.
-- More than the limits allow is an error, so that what was written is undone; RC008.

create or replace function rowcast.call(p_args text, p_max_bytes bigint)
returns table (problem text, data text, bookmark text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_callable rowcast.callable;
  v_oid regprocedure;
  v_function pg_proc;
  v_fitted record;
  v_query text;
  v_item text;
  v_items text[] := '{}';
  v_bytes bigint := 0;
begin
  perform rowcast.check_owner();
  select * into v_callable from rowcast.callable c
  where c.name = nullif(current_setting('rowcast.call', true), '');
  if v_callable.name is null then
    return;
  end if;
  v_oid := to_regprocedure(v_callable.function);
  v_fitted := rowcast.fit_arguments(v_oid, p_args);
  if v_fitted.problem is not null then
    problem := v_fitted.problem;
    return next;
    return;
  end if;

  select * into v_function from pg_proc where oid = v_oid;
  v_query := format(
    case
      when v_function.prorettype = 'void'::regtype
        then 'select null from %1$s cross join lateral %2$s as r'
      -- Named columns make objects, even a single one; a composite that is null is none.
      when v_function.proargmodes && '{o,b,t}'::"char"[] or (v_function.proretset and exists (
        select from pg_type t where t.oid = v_function.prorettype and t.typtype = 'c'
      )) then 'select to_json(r) from (select f.* from %1$s cross join lateral %2$s as f) r'
      when v_function.proretset
        then 'select to_json(r.value) from %1$s cross join lateral %2$s as r (value)'
      else 'select to_json(%2$s) from %1$s'
    end,
    v_fitted.source, v_fitted.call
  );
  begin
    for v_item in execute v_query using p_args loop
      v_items := v_items || coalesce(v_item, 'null');
      v_bytes := v_bytes + coalesce(octet_length(v_item), 4) + 1;
      if v_bytes > least(v_callable.max_bytes, p_max_bytes) + 1
        or (v_function.proretset and cardinality(v_items) > v_callable.max_rows) then
        raise exception using errcode = 'RC008',
          message = format('the answer of %s is larger than it may be', v_callable.name),
          hint = 'See max_rows and max_bytes in rowcast.callable, and the service''s '
            'calls.result_bytes.';
      end if;
    end loop;
  exception
    when others or assert_failure then
      perform rowcast.check_any_rewrite();
      raise;
  end;
  perform rowcast.check_rewrites();

  data := case
    when v_function.proretset then '[' || array_to_string(v_items, ',') || ']'
    else coalesce(v_items[1], 'null')
  end;
  bookmark := case
    when v_callable.writes then rowcast.bookmark_with_own() else rowcast.bookmark()
  end;
  return next;
end
$$;
revoke all on function rowcast.call(text, bigint) from public;
grant execute on function rowcast.call(text, bigint) to rowcast_service;
comment on function rowcast.call(text, bigint) is
  'Calls what rowcast.begin_call has let in; its answer as JSON, and the bookmark of its snapshot.';
