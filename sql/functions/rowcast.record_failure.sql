-- What a lossy trigger does when its query fails: a row that says why, a warning, and a gap for
-- everybody, told through the log itself so that a later resume hears of it too.
-- A failure to record must not fail the application's write either.

create or replace function rowcast.record_failure(
  p_channel text,
  p_relation text,
  p_operation text,
  p_sqlstate text,
  p_message text,
  p_context text
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  raise warning 'rowcast: events of % on % are lost: % (%)', p_operation, p_relation, p_message, p_sqlstate
    using hint = 'See rowcast.failure; the write itself went through.';
  begin
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (p_channel, p_relation, p_operation, p_sqlstate, p_message, p_context);
    insert into rowcast.event (channel, name, rooms, data)
    values (p_channel, 'rowcast:gap', array['*'], json_build_object('reason', 'trigger'));
  exception
    when others then
      raise warning 'rowcast: and the failure could not be recorded: %', sqlerrm;
  end;
end
$$;
revoke all on function rowcast.record_failure(text, text, text, text, text, text) from public;
comment on function rowcast.record_failure(text, text, text, text, text, text) is
  'Records that a lossy trigger lost events, and tells everybody of a gap.';
