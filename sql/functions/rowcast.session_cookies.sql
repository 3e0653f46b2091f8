-- The names of the cookies that rules exchange, so that the service passes on no others.

create or replace function rowcast.session_cookies() returns text[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(cookie order by cookie), '{}') from rowcast.session_rule
$$;
revoke all on function rowcast.session_cookies() from public;
grant execute on function rowcast.session_cookies() to rowcast_service;
comment on function rowcast.session_cookies() is
  'Names of the cookies that rowcast.session_rule knows.';
