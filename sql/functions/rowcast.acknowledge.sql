-- Moves readers on, many in one statement, each only forwards: a place that is not known to hold
-- all of the stored one is left out, but for the first of a new history. An element is {"sub",
-- "name", "bookmark", "after"}, sub and name as for rowcast.sent; with after, it moves only if all
-- up to there was acknowledged, for one that was sent nothing since.
-- For each, in any order: where it stands then, null if there is none of that name; and how many
-- milliseconds to wait, for no reader is written twice within p_pause, whichever node it is told.
-- Isolation is to be READ COMMITTED. Rows are locked in one order, so that nodes never deadlock.

create or replace function rowcast.acknowledge(p_acks jsonb, p_pause interval)
returns table (place bigint, bookmark text, wait_ms bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_keep interval := (select reader_keep from rowcast.setting);
  v_history text := rowcast.history();
  v_ack record;
  v_reader rowcast.reader;
  v_moves boolean;
begin
  for v_ack in
    select a.ordinality, e.*
    from jsonb_array_elements(p_acks) with ordinality a
    cross join jsonb_to_record(a.value) as j (sub jsonb, name jsonb, bookmark text, after text)
    cross join lateral (
      select rowcast.sent(j.sub) as sub, rowcast.sent(j.name) as name, j.bookmark, j.after
    ) e
    order by e.sub, e.name
  loop
    select * into v_reader
    from rowcast.reader r
    where r.sub = v_ack.sub and r.name = v_ack.name and r.at >= clock_timestamp() - v_keep
    for update;
    place := v_ack.ordinality;
    bookmark := v_reader.bookmark;
    wait_ms := 0;
    if v_reader.sub is not null then
      v_moves := rowcast.is_within(bookmark, v_ack.bookmark)
        or split_part(bookmark, '.', 1) <> v_history
          and split_part(v_ack.bookmark, '.', 1) = v_history;
      if v_ack.after is not null then
        v_moves := v_moves and rowcast.is_within(v_ack.after, bookmark);
      end if;
      if v_moves and bookmark <> v_ack.bookmark then
        -- A clock that was set back must not hold anybody up.
        if v_reader.at <= clock_timestamp() then
          wait_ms := greatest(0, ceil(extract(epoch from
            v_reader.at + p_pause - clock_timestamp()) * 1000));
        end if;
        if wait_ms = 0 then
          update rowcast.reader r set bookmark = v_ack.bookmark, at = clock_timestamp()
          where r.sub = v_ack.sub and r.name = v_ack.name;
          bookmark := v_ack.bookmark;
        end if;
      end if;
    end if;
    return next;
  end loop;
end
$$;
revoke all on function rowcast.acknowledge(jsonb, interval) from public;
grant execute on function rowcast.acknowledge(jsonb, interval) to rowcast_service;
comment on function rowcast.acknowledge(jsonb, interval) is
  'Moves durable readers on: where each stands then, and how long to wait before it may be '
  'written.';
