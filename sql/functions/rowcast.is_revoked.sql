-- Whether claims no longer count, because their user was revoked since. iat has whole seconds: what
-- was issued in the second of the revocation is refused, for it may have been issued before. No iat
-- is refused as long as the revocation stands. Whoever was let in at a version before the
-- revocation's has shown that the token is older, whatever it says.

create or replace function rowcast.is_revoked(
  p_claims jsonb,
  p_leeway bigint default 0,
  p_version bigint default null
)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from rowcast.revocation r
    where r.sub = p_claims ->> 'sub'
      and (
        jsonb_typeof(p_claims -> 'iat') is distinct from 'number'
        or floor((p_claims ->> 'iat')::numeric) <= floor(extract(epoch from r.at)) + p_leeway
        or r.version > p_version
      )
  )
$$;
revoke all on function rowcast.is_revoked(jsonb, bigint, bigint) from public;
comment on function rowcast.is_revoked(jsonb, bigint, bigint) is
  'Whether a revocation stands against these claims; leeway of clocks in seconds.';
