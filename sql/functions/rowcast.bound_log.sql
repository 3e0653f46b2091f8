-- Bounds the log where nobody serves this database: called by writers, one in 4,096 events, when
-- their id reaches rowcast.bound. A service that leads does the same in advance, and then this has
-- nothing to do, unless that service hangs: twice a leaf's share is more than it would ever leave.
-- The work is left to the end of the writer's transaction: it locks what readers need, and nobody
-- knows how long a transaction stays open, even one that has said `set constraints all immediate`.
-- Only PREPARE TRANSACTION keeps that lock longer.
-- It must never fail the write.

create or replace function rowcast.bound_log() returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
declare
  v_last bigint := pg_sequence_last_value('rowcast.event_id_seq'::regclass);
  v_share bigint;
begin
  perform setval('rowcast.bound', v_last + 4096);
  select keep_bytes / 5 into v_share from rowcast.setting;
  if rowcast.is_led() then
    v_share := v_share * 2;
    if not rowcast.leaf_is_full(v_last & ~1048575, v_share) then
      return;
    end if;
  end if;
  -- Elsewhere who deletes the same as another fails.
  if current_setting('transaction_isolation') = 'read committed' then
    perform rowcast.forget_failures();
  end if;
  if rowcast.leaf_is_full(v_last, v_share) or rowcast.spare_leaf(v_last >> 20) is null then
    set constraints rowcast._900_rowcast_settle deferred;
    insert into rowcast.overdue values (pg_current_xact_id()) on conflict do nothing;
  end if;
exception
  when others then
    perform rowcast.warn(format(
      'rowcast: the log could not be bounded: %s (%s)', sqlerrm, sqlstate
    ));
end
$$;
revoke all on function rowcast.bound_log() from public;
comment on function rowcast.bound_log() is
  'Has the writer rotate the log when it commits, where no service does.';
