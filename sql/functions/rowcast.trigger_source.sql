-- The text of the trigger function round an attached query: rowcast.trigger_template with what
-- differs from table to table.
--
-- The plan of a static statement is made once a session, for as few rows as there were at the time:
-- above a hundred rows it does nothing and one is made for them, or a nested loop would take the
-- square of the time. A query that only passes rows through has no other plan for many.
-- Above p_reset_above events the rooms are told to read anew. One more than that is computed.
-- It runs in sessions of any settings: those that its text or its events would change with, which
-- rowcast.check_query names, are set for it. They stand in its body too, for that is what is
-- compared.

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
  v_rows text := case p_operation when 'delete' then 'old_rows' else 'new_rows' end;
  v_plain boolean := '(plain)' = any (p_columns) or p_operation = 'truncate';
  v_numerous text := format('exists (select from %s offset 100)', v_rows);
  v_told text := quote_literal(p_function || ' ') || ' || last_value';
  v_settings text := (
    select string_agg(substr(c, 2, length(c) - 2), ' ')
    from unnest(p_columns) c
    where c like '(set %'
  );
begin
  return rowcast.fill_in(rowcast.trigger_template(), jsonb_build_object(
    'function', p_function,
    'settings', coalesce(' ' || v_settings, ''),
    'noted', coalesce('-- ' || v_settings || e'\n', ''),
    'selected', rowcast.event_rows(p_query, p_columns, p_channel),
    'limit', coalesce(' limit ' || (p_reset_above::bigint + 1)::text, ''),
    -- Looked at once, before the query: it is not even begun for no rows.
    'few', case when v_plain then '' else format(
      e'\n      and exists (select from %s) and not %s', v_rows, v_numerous
    ) end,
    'none', case when v_plain then 'return null;' else format(
      'if not %s then
          return null;
        end if;',
      v_numerous
    ) end,
    'exists', case when v_plain then 'true' else format('exists (select from %s)', v_rows) end,
    'numerous', case when v_plain then 'false' else v_numerous end,
    'usual', 'v_count ' || coalesce('between 1 and ' || p_reset_above::text, '> 0'),
    'above', case when p_reset_above is null then '' else format(
      'if v_count > %1$s then
      v_above := true;
      raise exception ''more than %1$s events'';
    end if;',
      p_reset_above
    ) end,
    'reset', quote_literal(
      json_build_object('table', p_table::text, 'operation', p_operation)::text
    ),
    -- TRUNCATE of a parent fires this for every table that it empties: once is enough, unless
    -- somebody has told something since: who told last, and the number of the event.
    'guard', case when p_operation = 'truncate' then format(
      'if current_setting(''rowcast.told'', true) = (select %s from rowcast.event_id_seq) then
    return null;
  end if;',
      v_told
    ) else '' end,
    'done', case when p_operation = 'truncate' then format(
      'perform set_config(''rowcast.told'', %s, true) from rowcast.event_id_seq;', v_told
    ) else '' end,
    -- The table as it is called then, which may have been renamed since.
    'failed', case p_mode
      when 'strict' then format(
        'perform rowcast.refuse_write(
    tg_relid::regclass::text, %L, v_state, v_message, v_detail, v_hint, v_context
  );',
        p_operation
      )
      else format(
        'perform rowcast.record_failure(
    %L, tg_relid::regclass::text, %L, v_state, v_message, v_context, v_concerned, v_guarded
  );',
        p_channel, p_operation
      )
    end
  ));
end
$$;
revoke all on function rowcast.trigger_source(
  regclass, text, text, text, integer, text[], text, text
) from public;
comment on function rowcast.trigger_source(
  regclass, text, text, text, integer, text[], text, text
) is
  'The create function statement that rowcast.attach runs; shown by '
  '`rowcast triggers apply --dry-run`.';
