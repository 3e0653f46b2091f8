-- How writers wake the listener, for this database, above what the service is configured with; null
-- returns to that. Silence is in force at once, for the flag stands outside transactions; the
-- service hears of it when this commits, or at its next look, within a second. Where one leads,
-- only that has writers ring, as soon as it hears: it relies on knowing since when all do.

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
  if p_mode = 'never' then
    perform setval('rowcast.doorbell', 0);
  elsif p_mode = 'always' and not rowcast.is_led() then
    perform setval('rowcast.doorbell', 1);
  end if;
end
$$;
revoke all on function rowcast.set_doorbell(text) from public;
comment on function rowcast.set_doorbell(text) is
  'Switches the doorbell: adaptive, always, never, or null for the service''s own setting.';
