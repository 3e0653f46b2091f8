-- Why a rule did not answer, for the service's log: by its name and SQLSTATE, for the message of a
-- rule's error may hold what it was asked with, such as a session's cookie. Of one that is gone it
-- can't.
-- By its first word src/database/call.rs tells it from the other verdicts of rowcast.begin_call.

create or replace function rowcast.rule_failed(
  p_kind text,
  p_rule text,
  p_sqlstate text,
  p_message text
) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('the %s rule %s failed', p_kind, p_rule) || case p_sqlstate
    when 'RC006' then ': ' || p_message
    else format(' with SQLSTATE %s', p_sqlstate)
  end
$$;
revoke all on function rowcast.rule_failed(text, text, text, text) from public;
comment on function rowcast.rule_failed(text, text, text, text) is
  'Says that a rule failed, and nothing of what it was asked.';
