-- Who may hear what: garages and their floors are for those on whose badge the garage stands. The floor
-- below the ground, -1, is the staff's.

create or replace function park_push.may_join(p_claims jsonb, p_room text) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_room ~ '^garage:[1-9][0-9]{0,8}(:floor:-?[0-9]{1,3})?$' then
    coalesce(p_claims -> 'garages' @> to_jsonb(split_part(p_room, ':', 2)::bigint), false)
      and (p_room !~ ':floor:-' or coalesce(p_claims ->> 'role' = 'staff', false))
  else false end
$$;
alter function park_push.may_join(jsonb, text) owner to rowcast_owner;

insert into rowcast.room_rule (pattern, may_join) values ('garage:*', 'park_push.may_join(jsonb, text)')
on conflict on constraint room_rule_pkey do update set may_join = excluded.may_join;
