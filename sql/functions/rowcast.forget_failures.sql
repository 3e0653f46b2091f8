-- Lets go of all but the youngest keep_failures; what another deletes just now is left to him. As
-- many at a time as a writer has the time for: he does it where no service leads
-- (rowcast.bound_log).

create or replace function rowcast.forget_failures() returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  delete from rowcast.failure
  where id = any (array(
    select f.id from rowcast.failure f
    where f.id <= (select max(id) from rowcast.failure)
      - (select keep_failures from rowcast.setting)
    order by f.id
    limit 10000
    for update skip locked
  ))
$$;
revoke all on function rowcast.forget_failures() from public;
comment on function rowcast.forget_failures() is 'Deletes old rows of rowcast.failure.';
