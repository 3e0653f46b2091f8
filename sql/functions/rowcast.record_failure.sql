-- What a lossy trigger does when its events are lost: a warning, a row that says why, and a gap for
-- the rooms concerned, told through the log itself so that a later resume hears of it too.
-- Neither may fail the application's write. Where not even the gap can be written (a full disk
-- under the log), a new history answers every bookmark with a gap. Only if that can't be noted
-- either, the write fails: a loss is never silent.
-- Each safety net round a write costs a subtransaction with an xid: only the first statements of a
-- transaction have them.

drop function if exists rowcast.record_failure(text, text, text, text, text, text);

create or replace function rowcast.record_failure(
  p_channel text,
  p_relation text,
  p_operation text,
  p_sqlstate text,
  p_message text,
  p_context text,
  p_concerned rowcast.concern[] default null,
  p_guarded boolean default true
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gap constant json := '{"reason":"trigger"}';
  v_concerned rowcast.concern[];
  -- Both may quote a value of any size. Whoever writes may have another encoding, and the console
  -- has.
  v_message constant text := case when rowcast.has_utf8(p_message) then left(p_message, 2000)
    else 'a message that has no form in UTF-8' end;
  v_context constant text := left(p_context, 2000);
begin
  -- Not the message: it may quote tables that the query reads, and whoever writes may not.
  perform rowcast.warn(format(
    'rowcast: events of %s on %s are lost, the write itself went through: see rowcast.failure (%s)',
    p_operation, p_relation, p_sqlstate
  ));
  -- The failure may be that a room or a channel is none: those nobody can be told of.
  v_concerned := array(
    select row(
      case when octet_length(c.channel) between 1 and 200 and not rowcast.has_control(c.channel)
        and rowcast.has_utf8(c.channel) then c.channel else p_channel end,
      c.room
    )::rowcast.concern
    from unnest(p_concerned) c
    where octet_length(c.room) <= 32768 and not rowcast.has_control(c.room)
      and rowcast.has_utf8(c.room)
  );
  if cardinality(v_concerned) = 0 then
    v_concerned := array[row(p_channel, '*')::rowcast.concern];
  end if;

  if not p_guarded then
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (p_channel, p_relation, p_operation, p_sqlstate, v_message, v_context);
    perform rowcast.tell_rooms('rowcast:gap', v_gap, v_concerned);
    return;
  end if;
  begin
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (p_channel, p_relation, p_operation, p_sqlstate, v_message, v_context);
  exception
    when others then
      perform rowcast.warn(format(
        'rowcast: and rowcast.failure could not be written: %s', sqlerrm
      ));
  end;
  begin
    perform rowcast.tell_rooms('rowcast:gap', v_gap, v_concerned);
  exception
    when others then
      perform rowcast.warn(format(
        'rowcast: and the gap could not be written, so that everybody is told of one: %s', sqlerrm
      ));
      insert into rowcast.history_break default values;
      perform rowcast.wake();
  end;
end
$$;
revoke all on function rowcast.record_failure(
  text, text, text, text, text, text, rowcast.concern[], boolean
) from public;
comment on function rowcast.record_failure(
  text, text, text, text, text, text, rowcast.concern[], boolean
) is
  'Records that a lossy trigger lost events, and tells the rooms concerned of a gap.';
