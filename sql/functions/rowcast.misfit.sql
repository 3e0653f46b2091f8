-- Whether a JSON object's values are of these columns' types ('lab bigint'): null, or which is not.
-- All at once, and only if that fails one by one.

create or replace function rowcast.misfit(p_columns text[], p_args text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column text;
begin
  if cardinality(p_columns) = 0 then
    return null;
  end if;
  execute format(
    'select count(*) from json_to_record($1::json) a (%s)', array_to_string(p_columns, ', ')
  ) using p_args;
  return null;
exception
  when others then
    if cardinality(p_columns) = 1 then
      return format('this argument does not fit its type: %s', p_columns[1]);
    end if;
    foreach v_column in array p_columns loop
      if rowcast.misfit(array[v_column], p_args) is not null then
        return format('this argument does not fit its type: %s', v_column);
      end if;
    end loop;
    raise;
end
$$;
revoke all on function rowcast.misfit(text[], text) from public;
comment on function rowcast.misfit(text[], text) is
  'Which value of a JSON object does not fit its type; null if all do.';
