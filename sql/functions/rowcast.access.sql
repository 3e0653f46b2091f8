-- Everything that decides what somebody may hear, for many at once, in one snapshot and with its
-- version. Asked at every connect and subscribe, and again for everybody when rules have changed.
-- An element is {"claims", "rooms", "version", "session"}: rooms is null if it is only asked who
-- they are; version is the one under which it was let in before, or null; session holds cookies to
-- exchange for claims instead, or null. What is not ASCII may be spelled as for rowcast.sent: of
-- what the database's encoding can't hold, claims are nobody's, and a room is not theirs.
-- `refusing` is a room rule that failed, which counts as no.

-- As it was before `refusing`.
drop function if exists rowcast.access(jsonb, bigint);

create or replace function rowcast.access(p_asked jsonb, p_leeway bigint default 0)
returns table (
  version bigint,
  claims text,
  revoked boolean,
  home text[],
  allowed text[],
  failed text,
  refusing text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_asked jsonb;
  v_claims jsonb;
  v_other text[];
begin
  select s.access_version into version from rowcast.setting s;
  for v_asked in
    select value from jsonb_array_elements(p_asked) with ordinality order by ordinality
  loop
    home := '{}';
    allowed := '{}';
    failed := null;
    refusing := null;
    claims := null;
    revoked := false;
    -- A rule that fails for one must not keep the others from their answer.
    begin
      if jsonb_typeof(v_asked -> 'session') in ('object', 'array') then
        v_claims := rowcast.session_claims(rowcast.sent(v_asked -> 'session')::jsonb);
      else
        v_claims := rowcast.sent(v_asked -> 'claims')::jsonb;
      end if;
      claims := v_claims::text;
      revoked := rowcast.is_revoked(v_claims, p_leeway, (v_asked ->> 'version')::bigint);
      if v_claims is not null and not revoked and v_asked ->> 'rooms' is not null then
        home := rowcast.home_rooms(v_claims);
        v_other := array(
          select s.room
          from jsonb_array_elements(v_asked -> 'rooms') r
          cross join lateral rowcast.sent(r) s (room)
          where s.room <> all (home)
        );
        select coalesce(array_agg(a.room) filter (where a.allowed), '{}'), min(a.failed)
        into allowed, refusing
        from rowcast.admit(v_claims, v_other) a;
      end if;
    exception
      when others or assert_failure then
        failed := sqlerrm;
    end;
    return next;
  end loop;
  perform rowcast.check_rewrites();
end
$$;
revoke all on function rowcast.access(jsonb, bigint) from public;
grant execute on function rowcast.access(jsonb, bigint) to rowcast_service;
comment on function rowcast.access(jsonb, bigint) is
  'For each element, its claims, whether they are revoked, home rooms, and which rooms are '
  'allowed.';
