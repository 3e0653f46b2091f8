-- Asked by what runs for its caller's sake what others wrote, such as rules. Restored with
-- --no-owner by a superuser it would run that as the superuser; --no-acl lets everybody call it.

create or replace function rowcast.check_owner() returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_user <> 'rowcast_owner' then
    raise exception using errcode = 'RC009',
      message = format('a function of schema rowcast belongs to %s, not to rowcast_owner',
        current_user),
      hint = 'After a restore with --no-owner: drop schema rowcast cascade, and restore it with '
        'its owners and grants, or migrate anew.';
  end if;
end
$$;
revoke all on function rowcast.check_owner() from public;
comment on function rowcast.check_owner() is
  'Refuses to run what others wrote as anybody but rowcast_owner; SQLSTATE RC009.';
