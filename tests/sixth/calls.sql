-- What drivers may ask for: to reserve a free spot for the plate on their badge.

create or replace function park_push.reserve(garage bigint, spot bigint) returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims jsonb := current_setting('request.jwt.claims')::jsonb;
begin
  if not coalesce(v_claims -> 'garages' @> to_jsonb(reserve.garage), false) then
    raise exception 'garage % is not on your badge', reserve.garage using errcode = 'RC100';
  end if;
  update park.spots s set plate = v_claims ->> 'plate'
  where s.garage_id = reserve.garage and s.spot_id = reserve.spot and s.plate is null;
  if not found then
    raise exception 'spot % is taken', reserve.spot using errcode = 'RC101';
  end if;
  return json_build_object('spot', reserve.spot, 'plate', v_claims ->> 'plate');
end
$$;
grant usage, create on schema park_push to park_app;
alter function park_push.reserve(bigint, bigint) owner to park_app;
revoke create on schema park_push from park_app;
revoke all on function park_push.reserve(bigint, bigint) from public;
grant execute on function park_push.reserve(bigint, bigint) to rowcast_owner;

insert into rowcast.callable (name, function, writes) values
  ('park.reserve', 'park_push.reserve(bigint, bigint)', true)
on conflict on constraint callable_pkey do update
set function = excluded.function, writes = excluded.writes;
