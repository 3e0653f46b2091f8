-- The same safe body for every table: the text of the trigger function round an attached query.
--
-- The first eight statements of a transaction that write events do so inside a safety net, which
-- catches what the log refuses too, but costs a subtransaction with an xid. A long transaction full
-- of those slows everybody else's reads, so later statements only compute inside it, without a
-- write, and insert outside. Those of its first half millisecond are not counted: they are few, and
-- counting is a fifth of what the safety net costs.
-- They write to rowcast.log, past the trigger of rowcast.event, and ask behind the statement whether
-- anybody has to be woken; every 256th event asks after the bounds of the log. While channels are
-- announced they write to rowcast.event instead: its trigger announces.
-- The plan of a static statement is made once a session, for as few rows as there were at the time:
-- above a hundred rows it does nothing and one is made for them, or a nested loop would take the
-- square of the time. A query that only passes rows through has no other plan for many.
-- Conditions with a sub-select stand alone: with one, PL/pgSQL runs the whole of them as a query.
-- Above p_reset_above events the rooms are told to read anew. One more than that is computed.
-- It runs in sessions of any settings: those that its text or its events would change with, which
-- rowcast.check_query names, are set for it. They stand in its body too, for that is what is compared.

create or replace function rowcast.trigger_source(
  p_table regclass,
  p_operation text,
  p_query text,
  p_mode text,
  p_reset_above integer,
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
  v_settings text := (
    select coalesce(string_agg(substr(c, 2, length(c) - 2), ' '), '')
    from unnest(p_columns) c where c like '(set %'
  );
  v_rows text := case p_operation when 'delete' then 'old_rows' else 'new_rows' end;
  v_selected text := rowcast.event_rows(p_query, p_columns, p_channel);
  -- TRUNCATE of a parent fires this for every table that it empties: once is enough, unless
  -- somebody has told something since.
  v_guard text := case when p_operation = 'truncate' then format(
    'if current_setting(%L, true) = (select last_value::text from rowcast.event_id_seq) then
    return null;
  end if;',
    v_told
  ) else '' end;
  v_plain boolean := '(plain)' = any (p_columns) or p_operation = 'truncate';
  -- Conditions that are looked at once, before the query: it is not even begun for no rows.
  v_few text := case when v_plain then '' else format(
    '
      and exists (select from %1$s) and not exists (select from %1$s offset 100)',
    v_rows
  ) end;
  v_exists text := case when v_plain then 'true' else format('exists (select from %s)', v_rows) end;
  v_numerous text := case when v_plain then 'false'
    else format('exists (select from %s offset 100)', v_rows) end;
  v_done text := case
    when p_operation = 'truncate' then format(
      'perform set_config(%L, last_value::text, true) from rowcast.event_id_seq;', v_told
    )
    else ''
  end;
  v_limit text := coalesce(' limit ' || (p_reset_above::bigint + 1)::text, '');
  v_none text := case when v_plain then 'return null;' else format(
    'if not exists (select from %s offset 100) then
          return null;
        end if;',
    v_rows
  ) end;
  v_usual text := 'v_count ' || coalesce('between 1 and ' || p_reset_above::text, '> 0');
  v_above text := case
    when p_reset_above is null then ''
    else format(
      'if v_count > %1$s then
      v_above := true;
      raise exception ''more than %1$s events'';
    end if;',
      p_reset_above
    )
  end;
  v_failed text := case p_mode
    when 'strict' then format(
      'perform rowcast.refuse_write(%L, %L, v_state, v_message, v_detail, v_hint, v_context);',
      p_table::text, p_operation
    )
    else format(
      'perform rowcast.record_failure(
    %L, %L, %L, v_state, v_message, v_context, v_concerned, v_guarded
  );',
      p_channel, p_table::text, p_operation
    )
  end;
  v_reset text := quote_literal(
    json_build_object('table', p_table::text, 'operation', p_operation)::text
  );
  v_template text := $source$
create or replace function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp{settings}
as $body$
#variable_conflict use_column
{noted}declare
  v_spent text;
  v_guarded boolean;
  v_count bigint;
  v_events rowcast.emission[];
  v_above boolean;
  v_state text;
  v_message text;
  v_detail text;
  v_hint text;
  v_context text;
  v_concerned rowcast.concern[];
  v_selected constant text := $query$
    {selected}
  $query$;
begin
  {guard}
  begin
    if length(coalesce(current_setting('rowcast.guarded', true), '')) < 8
      and pg_sequence_last_value('rowcast.announcing'::regclass) is distinct from 1
    then
      insert into rowcast.log (channel, name, rooms, data, render)
    {selected}{few}{limit};
      get diagnostics v_count = row_count;
      -- What nearly every write comes to: nobody to wake, and nothing to count.
      if {usual}
        and pg_sequence_last_value('rowcast.doorbell'::regclass) is distinct from 1
        and currval('rowcast.event_id_seq'::regclass) & 255 >= v_count
        and clock_timestamp() - now() between '0' and '500 us'
      then
        {done}
        return null;
      end if;
      if v_count = 0 then
        {none}
      end if;
    end if;

    v_spent := coalesce(current_setting('rowcast.guarded', true), '');
    if length(v_spent) < 8 then
      if v_count > 0 then
        {above}
        perform rowcast.wake();
      else
        if {exists} then
          execute 'insert into rowcast.event (channel, name, rooms, data, render) '
            || v_selected || '{limit}';
          get diagnostics v_count = row_count;
          {above}
        end if;
      end if;
      if v_count > 0 then
        v_spent := set_config('rowcast.guarded', v_spent || 'x', true);
        {done}
      end if;
      return null;
    end if;

    v_events := array(select row(s.*)::rowcast.emission from (
    {selected}{few}{limit}
      ) s);
    v_count := cardinality(v_events);
    if v_count = 0 then
      if {numerous} then
        execute 'select array(select row(s.*)::rowcast.emission from ('
          || v_selected || '{limit}) s)' into v_events;
        v_count := cardinality(v_events);
      end if;
    end if;
    {above}
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
        v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_context = pg_exception_context;
  end;
  if v_state is null then
    if v_count > 0 then
      insert into rowcast.event (channel, name, rooms, data, render)
      select e.channel, e.name, e.rooms, e.data, e.render from unnest(v_events) e;
      {done}
    end if;
    return null;
  end if;

  v_spent := coalesce(current_setting('rowcast.guarded', true), '');
  v_guarded := length(v_spent) < 8;
  if v_guarded then
    v_spent := set_config('rowcast.guarded', v_spent || 'x', true);
  end if;
  begin
    -- Names and data are not asked for, so PostgreSQL does not compute them.
    execute 'select array(select row(d.channel, d.room)::rowcast.concern from ('
      'select distinct s.channel, r.room from (' || v_selected
      || ') s cross join lateral unnest(s.rooms) r (room)) d)' into v_concerned;
    if v_above and v_guarded then
      perform rowcast.tell_rooms('reset', {reset}, v_concerned);
      {done}
      return null;
    end if;
  exception
    when others then
      if v_above then
        get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
          v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_context = pg_exception_context;
      end if;
  end;
  if v_above and not v_guarded and v_concerned is not null then
    perform rowcast.tell_rooms('reset', {reset}, v_concerned);
    {done}
    return null;
  end if;
  {failed}
  return null;
end
$body$
$source$;
  v_parts jsonb := jsonb_build_object(
    'function', p_function, 'guard', v_guard, 'few', v_few, 'none', v_none, 'exists', v_exists,
    'numerous', v_numerous, 'usual', v_usual, 'above', v_above, 'done', v_done, 'failed', v_failed,
    'limit', v_limit, 'reset', v_reset, 'selected', v_selected, 'settings', coalesce(' ' || nullif(v_settings, ''), ''),
    'noted', case when v_settings <> '' then format(e'-- %s\n', v_settings) else '' end
  );
begin
  return rowcast.fill_in(v_template, v_parts);
end
$$;
revoke all on function rowcast.trigger_source(regclass, text, text, text, integer, text[], text, text) from public;
comment on function rowcast.trigger_source(regclass, text, text, text, integer, text[], text, text) is
  'The create function statement that rowcast.attach runs; shown by `rowcast triggers apply --dry-run`.';
