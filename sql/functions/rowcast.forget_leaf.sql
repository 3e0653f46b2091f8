-- Empties one leaf that nobody writes, and says before what readers will lack; false if somebody
-- holds a lock on it. It never waits for a lock, so nobody ever waits behind it. Readers that come
-- while it works wait a few milliseconds for its commit; writers have no business in this leaf.
-- Without JIT, which is fooled by the price of a forbidden scan and took 100 ms of the lock's time.
-- With the lock, all transactions that wrote to the leaf have ended. A snapshot that is taken then
-- sees all that is forgotten.

create or replace function rowcast.forget_leaf(p_leaf integer, p_read pg_snapshot) returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_leaf text := format('rowcast.event_%s', p_leaf);
  v_newest text := format(
    'select (select xid from %s order by xid desc limit 1), pg_current_snapshot()', v_leaf
  );
  v_last xid8;
  v_now pg_snapshot;
  v_unread boolean;
begin
  -- Once without the lock: dead ends of the index are marked, and it is quick with the lock.
  execute v_newest into v_last, v_now;
  execute format('lock table %s in access exclusive mode nowait', v_leaf);
  if current_setting('transaction_isolation') = 'read committed' then
    execute v_newest into v_last, v_now;
  else
    -- Its snapshot may be old. But no transaction that has ended has an xid above a new one.
    v_last := rowcast.new_xid();
    v_now := format('%s:%s:', v_last, v_last)::pg_snapshot;
  end if;
  execute format(
    'select exists (select from %1$s where xid >= pg_snapshot_xmax($1))
      or exists (select from %1$s where xid = any (array(select pg_snapshot_xip($1))))',
    v_leaf
  ) into v_unread using p_read;
  -- Or writers have come in after all, with the last id of the leaf before.
  if v_unread or (pg_sequence_last_value('rowcast.event_id_seq'::regclass) >> 20) % 6 = p_leaf then
    raise lock_not_available;
  end if;
  if v_last is not null then
    -- The less it sees, the fewer gaps: p_read sees all of the leaf, and whoever stands there or
    -- later is safe, whatever has ended since.
    if exists (select from rowcast.forgotten where rowcast.is_subset(seen, p_read)) then
      v_now := p_read;
    end if;
    perform rowcast.set_horizon(
      greatest(
        pg_sequence_last_value('rowcast.horizon'::regclass),
        v_last::text::bigint + 1
      ),
      v_now
    );
  end if;
  execute format('truncate %s', v_leaf);
  return true;
exception
  when lock_not_available then
    -- A lock that was taken in vain is given back by this.
    return false;
end
$$;
revoke all on function rowcast.forget_leaf(integer, pg_snapshot) from public;
comment on function rowcast.forget_leaf(integer, pg_snapshot) is
  'Empties a leaf of the log without waiting; false if it is in use, or not all of it in p_read.';
