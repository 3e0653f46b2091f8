-- Counts changes of rules and revocations, so that every node notices them at its next look. At the
-- end of the transaction: until then nobody else's revocation waits for the counter's row, and no
-- token that is issued before the revocation holds is younger than it.

create or replace function rowcast.access_changed() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version bigint;
begin
  if tg_table_name <> 'revocation' then
    perform rowcast.recheck();
    return null;
  end if;
  update rowcast.setting set access_version = access_version + 1
  returning access_version into v_version;
  -- A restore that loads revocations before the settings, as pg_dump sorts them: each comes as it
  -- was.
  if not found then
    return null;
  end if;
  -- Neither column fires this trigger again.
  update rowcast.revocation set at = clock_timestamp(), version = v_version where sub = new.sub;
  return null;
end
$$;
revoke all on function rowcast.access_changed() from public;
comment on function rowcast.access_changed() is
  'Counts a change of rules or a revocation, at the end of its transaction.';

do $$
declare
  v_table text;
begin
  foreach v_table in array array['room_rule', 'home_rule', 'session_rule', 'revocation'] loop
    continue when exists (
      select from pg_trigger
      where tgrelid = format('rowcast.%I', v_table)::regclass and tgname = '_800_rowcast_access'
    );
    execute format(
      'create constraint trigger _800_rowcast_access after insert or update %s on rowcast.%I '
      'deferrable initially deferred for each row execute function rowcast.access_changed()',
      case when v_table = 'revocation' then 'of sub' else 'or delete' end, v_table
    );
    -- Whoever changes rules under session_replication_role = replica means it, too.
    execute format('alter table rowcast.%I enable always trigger _800_rowcast_access', v_table);
    continue when v_table = 'revocation';
    execute format(
      'create trigger _800_rowcast_access_truncate after truncate on rowcast.%I '
      'for each statement execute function rowcast.access_changed()', v_table
    );
    execute format(
      'alter table rowcast.%I enable always trigger _800_rowcast_access_truncate', v_table
    );
  end loop;
end
$$;
