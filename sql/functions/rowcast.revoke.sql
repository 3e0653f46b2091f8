-- Sends a user away: every connection of theirs ends on every node as soon as this is committed,
-- and tokens issued up to the commit are refused from then on. See rowcast.is_revoked for which.

create or replace function rowcast.revoke(p_user text) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  -- Not before, whatever the caller has said of all constraints.
  set constraints rowcast._800_rowcast_access deferred;
  -- Setting sub to itself is what tells the trigger, which counts and takes the time at the commit.
  -- A name that has no form in UTF-8 is in no claims, and no listener could be told of it.
  insert into rowcast.revocation (sub)
  select p_user where rowcast.has_utf8(p_user)
  on conflict on constraint revocation_pkey do update set sub = excluded.sub
$$;
revoke all on function rowcast.revoke(text) from public;
comment on function rowcast.revoke(text) is
  'Ends all connections of this user (claim sub); only tokens issued later are accepted.';
