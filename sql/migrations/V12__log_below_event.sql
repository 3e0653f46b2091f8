-- One level more: the leaves hang below rowcast.log, and that below rowcast.event. A statement that
-- writes to rowcast.log fires no statement trigger of rowcast.event, so the bodies that rowcast.attach
-- makes write there and ask the doorbell's flag themselves, which costs a third of the trigger.
-- Whoever writes by hand writes to rowcast.event, as before.
-- No row is written anew, but the leaves are read: about a second for 1 GB, and writers wait for it.

do $$
declare
  v_leaf integer;
begin
  for v_leaf in 0..5 loop
    execute format('alter table rowcast.event detach partition rowcast.event_%s', v_leaf);
  end loop;
  create table rowcast.log (like rowcast.event including defaults including comments)
    partition by list (((id >> 20) % 6));
  create index log_xid on rowcast.log (xid);
  for v_leaf in 0..5 loop
    execute format(
      'alter table rowcast.log attach partition rowcast.event_%s for values in (%s)', v_leaf, v_leaf
    );
  end loop;
  alter table rowcast.event attach partition rowcast.log for values in (0, 1, 2, 3, 4, 5);
end
$$;
comment on table rowcast.log is
  'The leaves of rowcast.event, without its trigger: only for what rowcast.attach makes.';
