-- Begins a new history where the old one has ended. Called by the listener before it reads.

create or replace function rowcast.ensure_history() returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if rowcast.history() = 'none' then
    lock table rowcast.history_mark in exclusive mode;
    if rowcast.history() = 'none' then
      -- Not to wait for a standby that is missing. Losing this in a crash loses nothing: that
      -- begins another history.
      perform set_config('synchronous_commit', 'off', true);
      perform rowcast.new_history();
    end if;
  end if;
  return rowcast.history();
end
$$;
revoke all on function rowcast.ensure_history() from public;
grant execute on function rowcast.ensure_history() to rowcast_service;
comment on function rowcast.ensure_history() is
  'Returns the current history, beginning a new one after a crash, a promotion or a restore.';
