-- Keeps the log within its bounds; called once a second by the service that leads, by any DBA, and
-- by writers where nobody serves (rowcast.bound_log). No writer ever waits for it.
-- A leaf is left when it has been written for a quarter of keep_for, or is full; always for an
-- empty one. So one is emptied in advance, and a leaf that cannot be emptied in time is passed
-- over. One that was left keep_for ago is emptied too, and while all of them take more than
-- keep_bytes, as after one large transaction, the oldest; but not the one that is left in this
-- call, for it may be unread.
-- At most one leaf is emptied in a call, at its end, for the lock lasts until the commit; and never
-- the one that is moved to, or writers would wait for it. p_read: what is not in it is spared.

create or replace function rowcast.rotate_log(
  p_read pg_snapshot default null,
  out moved boolean,
  out forgotten integer,
  out refused integer
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
declare
  v_last bigint := coalesce(pg_sequence_last_value('rowcast.event_id_seq'::regclass), 1);
  v_turn bigint := v_last >> 20;
  v_left bigint := v_turn % 6;
  v_setting rowcast.setting;
  v_other record;
  v_due boolean;
  v_over boolean;
  v_spare integer;
begin
  moved := false;
  refused := 0;
  -- One at a time, and not while a history begins. An advisory lock would be anybody's to hold.
  lock table rowcast.history_mark in share update exclusive mode nowait;
  perform rowcast.tend_log(v_last);
  select * into v_setting from rowcast.setting;
  v_due := rowcast.leaf_is_full(v_last, v_setting.keep_bytes / 5)
    or pg_relation_size(format('rowcast.event_%s', v_turn % 6)) > 0 and exists (
      select from rowcast.leaf
      where turn = v_turn and entered_at < clock_timestamp() - v_setting.keep_for / 4
    );
  v_spare := rowcast.spare_leaf(v_turn);
  if v_due and v_spare is not null then
    -- Three laps further. Writers go on drawing ids between these lines, and an id must never come
    -- twice: for that they would have to draw 18 million.
    v_turn := v_turn + 18 + v_spare;
    perform setval('rowcast.event_id_seq', v_turn << 20);
    perform rowcast.enter_leaf(v_turn);
    v_last := v_turn << 20;
    perform rowcast.tend_log(v_last);
    v_spare := rowcast.spare_leaf(v_turn);
    v_due := false;
    moved := true;
  end if;
  select bytes > v_setting.keep_bytes into v_over from rowcast.log_size();
  for v_other in
    select l.leaf, a.ahead, coalesce(
      l.left_at < clock_timestamp() - v_setting.keep_for, false
    ) as old
    from generate_series(1, 5) as a (ahead)
    join rowcast.leaf l on l.leaf = (v_turn + a.ahead) % 6
    where pg_relation_size(format('rowcast.event_%s', l.leaf)) > 0
    order by a.ahead
  loop
    -- In the last ids of a leaf writers are about to come to the next by themselves.
    continue when v_other.ahead = 1 and v_last & 1048575 > 983040
      or not (
        v_other.old
        or v_spare is null and (v_other.ahead = 1 or v_due)
        or v_over and v_other.leaf <> v_left
      );
    if rowcast.forget_leaf(v_other.leaf, p_read) then
      forgotten := v_other.leaf;
      update rowcast.leaf set refused_at = null
      where leaf = v_other.leaf and refused_at is not null;
      return;
    end if;
    refused := refused + 1;
    update rowcast.leaf set refused_at = clock_timestamp()
    where leaf = v_other.leaf and refused_at is null;
  end loop;
  -- Whoever held one may have let it go before it was due again.
  update rowcast.leaf set refused_at = null
  where refused = 0 and refused_at is not null and not rowcast.is_held(leaf);
exception
  -- Another rotation, or an administrator's lock on a whole leaf or on these books.
  when lock_not_available then
    refused := refused + 1;
end
$$;
revoke all on function rowcast.rotate_log(pg_snapshot) from public;
grant execute on function rowcast.rotate_log(pg_snapshot) to rowcast_service;
comment on function rowcast.rotate_log(pg_snapshot) is
  'Keeps the log within keep_for and keep_bytes: whether it moved to another leaf, which leaf it '
  'emptied, and how many it could not, because somebody holds a lock.';
