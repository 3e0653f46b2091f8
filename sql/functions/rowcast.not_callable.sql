-- For the start of a service, which says so: a dialect's file and rowcast.callable are written by
-- different hands.

create or replace function rowcast.not_callable(p_names text[]) returns text[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(n order by n), '{}')
  from unnest(p_names) n
  where not exists (
    select from rowcast.callable c
    where c.name = n and to_regprocedure(c.function) is not null
  )
$$;
revoke all on function rowcast.not_callable(text[]) from public;
grant execute on function rowcast.not_callable(text[]) to rowcast_service;
comment on function rowcast.not_callable(text[]) is
  'Those of the names by which nobody can call: not listed in rowcast.callable, or dropped since.';
