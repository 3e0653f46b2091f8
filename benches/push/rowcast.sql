-- Rowcast's part: every row an event in its room, and rooms that everybody may join.
grant usage on schema bench to rowcast_owner, rowcast_service;
select rowcast.attach('bench.event', 'insert', $$
  select 'bench:event' as name, array[n.room] as rooms, bench.payload(n.n, n.padding) as data
  from new_rows n
$$);
create function bench.may_join(p_claims jsonb, p_room text) returns boolean language sql stable
  as $$ select true $$;
insert into rowcast.room_rule values ('r*', 'bench.may_join(jsonb, text)');
alter role rowcast_service login;
