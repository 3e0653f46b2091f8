-- What spots tell: spot.taken and spot.free to those who watch the floor, garage.free with what is
-- left to those at the gate. It is counted when it is read, so that two cars at once are two.

create or replace function park_push.free_state(p_keys jsonb[]) returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k, json_build_object('garage', k -> 'garage', 'free', count(*) filter (where s.plate is null))
  from unnest(p_keys) k
  join park.spots s on s.garage_id = (k ->> 'garage')::bigint
  group by k
$$;
alter function park_push.free_state(jsonb[]) owner to rowcast_owner;

select rowcast.attach('park.spots', 'update', $$
  select
    case when n.plate is null then 'spot.free' else 'spot.taken' end as name,
    array[format('garage:%s:floor:%s', n.garage_id, n.floor)] as rooms,
    jsonb_build_object('spot', n.spot_id, 'floor', n.floor) as data,
    'spots' as channel,
    null as render
  from new_rows n
  join old_rows o using (spot_id)
  where (n.plate is null) <> (o.plate is null)
  union all
  select distinct
    'garage.free', array[format('garage:%s', n.garage_id)],
    jsonb_build_object('garage', n.garage_id), 'garages', 'park_push.free_state'
  from new_rows n
  join old_rows o using (spot_id)
  where (n.plate is null) <> (o.plate is null)
$$);
