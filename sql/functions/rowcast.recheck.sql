-- Has every node ask again for every connection: which rooms it may be in, whether its session
-- still is one. For rules whose functions answer otherwise because they, or the data they read,
-- have changed; a change of the rules' own tables calls it by itself.

create or replace function rowcast.recheck() returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  update rowcast.setting
  set access_version = access_version + 1, rules_version = access_version + 1
$$;
revoke all on function rowcast.recheck() from public;
comment on function rowcast.recheck() is
  'Every connection is admitted anew, on every node, as soon as this is committed.';
