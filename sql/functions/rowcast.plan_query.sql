-- How a query would be run by rowcast_owner, who runs it in the trigger: parsed as that role too,
-- for a view that somebody else made no longer asks after schemas and types. The temporary tables
-- new_rows and old_rows stand for those of the trigger.

create or replace function rowcast.plan_query(p_query text) returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan json;
begin
  perform rowcast.check_owner();
  -- A loop takes one statement, where EXECUTE would run several.
  for v_plan in execute 'explain (format json, costs off) ' || p_query loop
    return v_plan -> 0 -> 'Plan';
  end loop;
end
$$;
revoke all on function rowcast.plan_query(text) from public;
comment on function rowcast.plan_query(text) is
  'The plan of an attached query as rowcast_owner gets it; SQLSTATE 42501 if it may not run it.';
