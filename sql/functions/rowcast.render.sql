-- Calls the function that turns the keys of state events into payloads, once for all of a batch.
-- An error in it must not stop the log: the keys come back as failed, and become gaps.

create or replace function rowcast.render(p_function text, p_keys jsonb[])
returns table (key jsonb, data json, failed boolean)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure := to_regprocedure(p_function || '(jsonb[])');
begin
  if v_function is null then
    raise exception using errcode = 'RC006',
      message = format('there is no function %s(jsonb[]) to render with', p_function);
  end if;
  return query execute format(
    'select r.key, r.data, false from %s($1) as r (key, data)', v_function::oid::regproc
  ) using p_keys;
exception
  when others then
    raise warning 'rowcast: rendering with % failed: %', p_function, sqlerrm;
    return query select k, null::json, true from unnest(p_keys) k;
end
$$;
revoke all on function rowcast.render(text, jsonb[]) from public;
comment on function rowcast.render(text, jsonb[]) is 'State events: payloads for keys, in the snapshot of the batch.';
