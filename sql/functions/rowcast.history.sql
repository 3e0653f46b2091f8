-- The name of the current history, ten hexadecimal digits; 'none' while nobody has begun one since
-- a crash, a promotion, a restore, or a loss that the log could not be told of. A bookmark of
-- another history is answered with a gap.
-- A dump carries both halves of the mark, and two clusters that were set up alike give out the same
-- oids: so the nonce ends in the cluster's own identifier. Two marks are a restore into a database
-- that somebody was served from meanwhile.

create or replace function rowcast.history() returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_mark rowcast.history_mark;
begin
  if (select count(*) from rowcast.history_mark) <> 1 then
    return 'none';
  end if;
  select * into v_mark from rowcast.history_mark;
  -- Two conditions: on a standby even to plan a query of an unlogged table is an error.
  if not pg_is_in_recovery() then
    if not exists (select from rowcast.history_pulse where nonce = v_mark.nonce) then
      return 'none';
    end if;
  end if;
  if v_mark.nonce not like '%/' || (select system_identifier::text from pg_control_system())
    or v_mark.database_oid is distinct from
      (select oid from pg_database where datname = current_database())
    or v_mark.log_oid is distinct from 'rowcast.event'::regclass::oid then
    return 'none';
  end if;
  if exists (select from rowcast.history_break) then
    return 'none';
  end if;
  return v_mark.name;
end
$$;
revoke all on function rowcast.history() from public;
grant execute on function rowcast.history() to rowcast_service;
comment on function rowcast.history() is 'Identity of the history that bookmarks belong to.';
