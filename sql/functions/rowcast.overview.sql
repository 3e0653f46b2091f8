-- What an operator asks the database that no node knows by itself, in one query: the last failures
-- of triggers, what the log takes and may take, which node leads, which attachments are not in
-- force, which channels are paused. With the rights of whoever asks: sessions of other roles stay
-- unnamed.
-- Without JIT: nobody has analyzed our small tables, and beside a large catalog they look dear. It
-- took a second where the answer takes 50 ms.

create or replace function rowcast.overview(p_rows integer) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select jsonb_build_object(
    'failures', (
      select coalesce(jsonb_agg(to_jsonb(f) - 'id' order by f.id desc), '[]')
      from (
        select id, (extract(epoch from at) * 1000)::bigint as at, channel, relation, operation,
          sqlstate, left(message, 500) as message
        from rowcast.failure order by id desc limit p_rows
      ) f
    ),
    'log', (
      select jsonb_build_object(
        'bytes', l.bytes,
        'events', l.events,
        'age', extract(epoch from clock_timestamp() - l.oldest_at)::bigint,
        'refused', extract(epoch from clock_timestamp() - l.refused_at)::bigint,
        'keepBytes', s.keep_bytes,
        'keepFor', extract(epoch from s.keep_for)::bigint
      )
      from rowcast.setting s cross join rowcast.log_size() l
    ),
    -- The session lock of src/database/listening/lead.rs.
    'leader', (
      select jsonb_build_object('name', nullif(a.application_name, ''), 'pid', l.pid)
      from pg_locks l left join pg_stat_activity a using (pid)
      where l.locktype = 'advisory' and l.classid = 0 and l.objid = 7692279 and l.objsubid = 1
        and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
      limit 1
    ),
    'drift', (
      select coalesce(jsonb_agg(to_jsonb(d)), '[]')
      from (
        select relation::text, operation, state from rowcast.attachment
        where state <> 'ok' order by relation::text, operation limit p_rows
      ) d
    ),
    'paused', (
      select coalesce(jsonb_agg(c.name order by c.name), '[]')
      from (select name from rowcast.channel where paused order by name limit p_rows) c
    )
  )
$$;
revoke all on function rowcast.overview(integer) from public;
grant execute on function rowcast.overview(integer) to rowcast_service;
comment on function rowcast.overview(integer) is
  'For the console: failures, log, leader, drift and paused channels, at most so many rows of '
  'each.';
