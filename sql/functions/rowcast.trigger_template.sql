-- The same safe body for every table, with {names} for what rowcast.trigger_source fills in.
--
-- The first eight statements of a transaction that write events do so inside a safety net, which
-- catches what the log refuses too, but costs a subtransaction with an xid. A long transaction full
-- of those slows everybody else's reads, so later statements only compute inside it, without a
-- write, and insert outside. Those of its first half millisecond are not counted: they are few, and
-- counting is a fifth of what the safety net costs.
-- They write to rowcast.log, past the trigger of rowcast.event, and ask behind the statement whether
-- anybody has to be woken; every 256th event asks after the bounds of the log. While channels are
-- announced they write to rowcast.event instead: its trigger announces.
-- Conditions with a sub-select stand alone: with one, PL/pgSQL runs the whole of them as a query.

create or replace function rowcast.trigger_template() returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select $source$
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
$source$
$$;
revoke all on function rowcast.trigger_template() from public;
comment on function rowcast.trigger_template() is
  'The trigger function round an attached query, before rowcast.trigger_source fills it in.';
