-- How writers wake the listener, for this database, above what the service is configured with; null
-- returns to that. In force at once for writers, for the flag stands outside transactions, and for
-- the service when this commits, or at its next look, within a second.

create or replace function rowcast.set_doorbell(p_mode text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_mode not in ('adaptive', 'always', 'never') then
    raise exception using errcode = 'RC003',
      message = format('there is no doorbell %L', p_mode),
      hint = 'adaptive: writers ring only while the listener sleeps. always: every write does. '
        'never: none does, the listener polls. null: as the service is configured.';
  end if;
  update rowcast.setting set doorbell = p_mode;
  if p_mode = 'always' then
    perform setval('rowcast.doorbell', 1);
  elsif p_mode = 'never' then
    perform setval('rowcast.doorbell', 0);
  end if;
end
$$;
revoke all on function rowcast.set_doorbell(text) from public;
comment on function rowcast.set_doorbell(text) is
  'Switches the doorbell: adaptive, always, never, or null for the service''s own setting.';
