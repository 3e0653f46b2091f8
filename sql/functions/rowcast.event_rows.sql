-- The events of an attached query, as the select that a trigger inserts from: what the query leaves
-- out is added, and each event is held against the bounds of rowcast.checked_name.
--
-- Short and plain is within all bounds; rowcast.checked_name decides on the rest, and refuses what
-- is null. 4,000 bytes are not 1 MiB even where they are compressed to the 255th part, PostgreSQL's
-- best. A null room becomes a control character; an array of several dimensions has no rooms[1].
-- Where the encoding is not UTF8, plain or not has to be looked at.
-- A key that is no jsonb fails here, where it is known whose it is, rather than where it is
-- rendered.
-- Names and rooms are collated as the database is: a column whose collation is not deterministic
-- knows no regular expressions, and may take two rooms for one.
-- Offset 0 keeps PostgreSQL from computing the query's columns once more for each mention.

create or replace function rowcast.event_rows(p_query text, p_columns text[], p_channel text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_channels boolean := 'channel' = any (p_columns);
  v_renders boolean := 'render' = any (p_columns);
  v_channel text := case
    when v_channels then format('coalesce(q.channel, %L)', p_channel)
    else quote_literal(p_channel) || '::text'
  end;
  v_template text := $select$select q.channel,
      case when octet_length(q.words) <= 200 and q.words !~ '[[:cntrl:]]' and q.name <> ''{named}
          and q.rooms[1] is not null and (pg_column_size(q.data) <= 4000) is not false{plain}
        then q.name else rowcast.checked_name(q.channel, q.name, q.rooms, q.data)
      end as name,
      q.rooms, q.data, q.render
    from (
      select {channel} collate "default" as channel, q.name collate "default" as name,
        q.rooms collate "default" as rooms, {data} as data, {render} as render,
        ({prefix}q.name || array_to_string(q.rooms, '', chr(10))) collate "default" as words
      from (
{query}
      ) q offset 0
    ) q
    where cardinality(q.rooms) > 0$select$;
begin
  return rowcast.fill_in(v_template, jsonb_build_object(
    'channel', v_channel,
    'prefix', case when v_channels then v_channel || ' || ' else '' end,
    'named', case when v_channels then ' and q.channel <> ''''' else '' end,
    'plain', case when getdatabaseencoding() = 'UTF8' then '' else ' and false' end,
    'render', case when v_renders then 'q.render' else 'null::text' end,
    'data', case
      when v_renders then 'case when q.render is null then q.data::json '
        'else q.data::jsonb::json end'
      else 'q.data::json'
    end,
    -- What may stand behind a statement, but not behind one in parentheses.
    'query', regexp_replace(p_query, '[[:space:];]+$', '')
  ));
end
$$;
revoke all on function rowcast.event_rows(text, text[], text) from public;
comment on function rowcast.event_rows(text, text[], text) is
  'The select that a trigger function inserts its events from: a part of rowcast.trigger_source.';
