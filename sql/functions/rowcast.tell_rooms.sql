-- One event for many rooms, in as few rows as the bound on the rooms of one event allows: a row
-- names up to 32 KiB of them, and of one more room's length at most.

create or replace function rowcast.tell_rooms(
  p_name text,
  p_data json,
  p_concerned rowcast.concern[]
) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcast.event (channel, name, rooms, data)
  select t.channel, rowcast.checked_name(t.channel, p_name, t.rooms, p_data), t.rooms, p_data
  from (
    select p.channel, p.part, array_agg(p.room order by p.room) as rooms
    from (
      select c.channel, c.room, sum(octet_length(c.room)) over (
        partition by c.channel order by c.room rows unbounded preceding
      ) / 32768 as part
      from (select distinct channel, room from unnest(p_concerned)) c
    ) p
    group by p.channel, p.part
  ) t
  order by t.channel, t.part
$$;
revoke all on function rowcast.tell_rooms(text, json, rowcast.concern[]) from public;
comment on function rowcast.tell_rooms(text, json, rowcast.concern[]) is
  'Writes an event of this name and data for all these rooms.';
