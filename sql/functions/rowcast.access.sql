-- Everything that decides what somebody may hear, for many at once, in one snapshot and with its
-- version. Asked at every connect and subscribe, and again for everybody when rules have changed.
-- An element is {"claims", "rooms", "version", "session"}: rooms is null if it is only asked who they
-- are; version is the one under which it was let in before, or null; session holds cookies to exchange
-- for claims instead, or null.

create or replace function rowcast.access(p_asked jsonb, p_leeway bigint default 0)
returns table (
  version bigint,
  claims text,
  revoked boolean,
  home text[],
  allowed text[],
  failed text
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
    v_claims := v_asked -> 'claims';
    -- A rule that fails for one must not keep the others from their answer.
    begin
      if jsonb_typeof(v_asked -> 'session') = 'object' then
        v_claims := rowcast.session_claims(v_asked -> 'session');
      end if;
      claims := v_claims::text;
      revoked := rowcast.is_revoked(v_claims, p_leeway, (v_asked ->> 'version')::bigint);
      if v_claims is not null and not revoked and v_asked ->> 'rooms' is not null then
        home := rowcast.home_rooms(v_claims);
        v_other := array(
          select r from jsonb_array_elements_text(v_asked -> 'rooms') r where r <> all (home)
        );
        allowed := array(select a.room from rowcast.admit(v_claims, v_other) a where a.allowed);
      end if;
    exception
      when others then
        failed := sqlerrm;
    end;
    return next;
  end loop;
end
$$;
revoke all on function rowcast.access(jsonb, bigint) from public;
grant execute on function rowcast.access(jsonb, bigint) to rowcast_service;
comment on function rowcast.access(jsonb, bigint) is
  'For each element, its claims, whether they are revoked, home rooms, and which rooms are allowed.';
