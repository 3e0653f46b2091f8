-- The same safe body for every table: the text of the trigger function round an attached query.
-- lossy computes the events inside a safety net, without a write (a write there would cost the
-- application a subtransaction with an xid for each statement), and inserts them outside it.
-- strict inserts directly: an error aborts the application's statement.

create or replace function rowcast.trigger_source(
  p_table regclass,
  p_operation text,
  p_query text,
  p_mode text,
  p_columns text[],
  p_channel text,
  p_function text
) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_told text := 'rowcast.told_' || left(md5(p_function), 12);
  v_guard text := case
    when p_operation in ('insert', 'update') then 'if not exists (select from new_rows) then return null; end if;'
    when p_operation = 'delete' then 'if not exists (select from old_rows) then return null; end if;'
    -- TRUNCATE of a parent fires this for every table that it empties: once is enough, unless
    -- somebody has told something since.
    else format(
      'if current_setting(%L, true) = (select last_value::text from rowcast.event_id_seq) then return null; end if;',
      v_told
    )
  end;
  v_done text := case
    when p_operation = 'truncate' then format(
      'perform set_config(%L, last_value::text, true) from rowcast.event_id_seq;', v_told
    )
    else ''
  end;
  -- A null name becomes the empty one, which the domain refuses where a lossy trigger can catch it.
  v_select text := format(
    '%s, coalesce(q.name, ''''), q.rooms, q.data::json, %s',
    case when 'channel' = any (p_columns) then format('coalesce(q.channel, %L)', p_channel)
      else quote_literal(p_channel) end,
    case when 'render' = any (p_columns) then 'q.render' else 'null' end
  );
begin
  if p_mode = 'strict' then
    return format($source$
create or replace function %1$s() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $body$
begin
  %2$s
  insert into rowcast.event (channel, name, rooms, data, render)
  select %3$s
  from (
%4$s
  ) q
  where cardinality(q.rooms) > 0;
  %5$s
  return null;
end
$body$
$source$, p_function, v_guard, v_select, p_query, v_done);
  end if;

  return format($source$
create or replace function %1$s() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $body$
declare
  v_events rowcast.emission[];
  v_state text;
  v_message text;
  v_context text;
begin
  %2$s
  begin
    v_events := array(
      select row(%3$s)::rowcast.emission
      from (
%4$s
      ) q
      where cardinality(q.rooms) > 0
    );
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
        v_context = pg_exception_context;
  end;
  if v_state is not null then
    perform rowcast.record_failure(%5$L, %6$L, %7$L, v_state, v_message, v_context);
  elsif cardinality(v_events) > 0 then
    insert into rowcast.event (channel, name, rooms, data, render)
    select e.channel, e.name, e.rooms, e.data, e.render from unnest(v_events) e;
    %8$s
  end if;
  return null;
end
$body$
$source$, p_function, v_guard, v_select, p_query, p_channel, p_table::text, p_operation, v_done);
end
$$;
revoke all on function rowcast.trigger_source(regclass, text, text, text, text[], text, text) from public;
comment on function rowcast.trigger_source(regclass, text, text, text, text[], text, text) is
  'The create function statement that rowcast.attach runs; shown by `rowcast triggers apply --dry-run`.';
