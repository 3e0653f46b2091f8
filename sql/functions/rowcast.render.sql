-- Calls the function that turns the keys of state events into payloads, once for all of a batch.
-- An error in it must not stop the log: the keys come back as failed, and become gaps. An ASSERT
-- that fails is no error like others to PostgreSQL, and neither may a name that can't be one fail
-- outside.
-- All of its answer before any of it: rows that were returned before an error would stay.
-- Nobody's events may wait for long behind a lock that the function wants, for they all come by the
-- look that calls it.

create or replace function rowcast.render(p_function text, p_keys jsonb[])
returns table (key jsonb, data json, failed boolean)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
  v_function regprocedure;
  v_keys jsonb[];
  v_data json[];
begin
  perform rowcast.check_owner();
  v_function := to_regprocedure(p_function || '(jsonb[])');
  if v_function is null then
    raise exception using errcode = 'RC006',
      message = format('there is no function %s(jsonb[]) to render with', p_function);
  end if;
  execute format(
    'select array_agg(r.key), array_agg(r.data) from %s($1) as r (key, data)',
    v_function::oid::regproc
  ) into v_keys, v_data using p_keys;
  perform rowcast.check_rewrites();
  if getdatabaseencoding() <> 'UTF8' then
    perform convert_to(d::text, 'UTF8') from unnest(v_data) d;
  end if;
  return query select k, d, false from unnest(v_keys, v_data) as a (k, d);
exception
  when others or assert_failure then
    raise warning 'rowcast: rendering with % failed: %', p_function,
      case when rowcast.has_utf8(sqlerrm) then sqlerrm else sqlstate end;
    return query select k, null::json, true from unnest(p_keys) k;
end
$$;
revoke all on function rowcast.render(text, jsonb[]) from public;
comment on function rowcast.render(text, jsonb[]) is
  'State events: payloads for keys, in the snapshot of the batch.';
