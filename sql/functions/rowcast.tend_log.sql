-- Notes which leaf is written since when, however writers came there; moves on the id at which they
-- would look after the log themselves; mends what a truncation that failed half-way left behind;
-- has everybody asked for again where a sign-out could not; and lets go of old failures, and of
-- readers that are to be forgotten.
-- Writes nothing while nothing changes: it is called once a second for years.

create or replace function rowcast.tend_log(p_last bigint) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_turn bigint := p_last >> 20;
  v_before bigint;
begin
  select turn into v_before from rowcast.leaf where turn is not null and left_at is null;
  if v_before is distinct from v_turn then
    -- Every leaf on the way was left just now, as far as anybody knows: rather keep it too long.
    update rowcast.leaf set turn = t, left_at = clock_timestamp()
    from generate_series(greatest(coalesce(v_before, 0), v_turn - 5), v_turn - 1) t
    where leaf = t % 6;
    perform rowcast.enter_leaf(v_turn);
  end if;
  -- A clock that was ahead, by years perhaps, and was set back: what it said counts from now on.
  update rowcast.leaf
  set entered_at = least(entered_at, clock_timestamp()),
    left_at = case when left_at is not null then least(left_at, clock_timestamp()) end
  where greatest(entered_at, left_at) > clock_timestamp();
  if pg_sequence_last_value('rowcast.bound'::regclass) < p_last + 2048 then
    perform setval('rowcast.bound', p_last + 4096);
  end if;
  if current_setting('transaction_isolation') = 'read committed' and exists (
    select from rowcast.forgotten
    where truncation < pg_sequence_last_value('rowcast.truncation'::regclass)
  ) then
    perform rowcast.set_horizon(
      coalesce(pg_sequence_last_value('rowcast.horizon'::regclass), 1),
      pg_current_snapshot()
    );
  end if;
  if current_setting('transaction_isolation') = 'read committed'
    and exists (select from rowcast.recheck_due)
  then
    -- Whoever else counts just now is not waited for: next time.
    perform from rowcast.setting for no key update skip locked;
    if found then
      delete from rowcast.recheck_due;
      perform rowcast.recheck();
    end if;
  end if;
  -- About once a minute is enough, and this is called once a second. Not at an old snapshot.
  if random() < 0.02 and current_setting('transaction_isolation') = 'read committed' then
    perform rowcast.forget_readers();
  end if;
  perform rowcast.forget_failures();
end
$$;
revoke all on function rowcast.tend_log(bigint) from public;
comment on function rowcast.tend_log(bigint) is 'Keeps the books of rowcast.rotate_log().';
