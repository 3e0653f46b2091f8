-- rowcast.log as the default partition of rowcast.event, which it is alone in: as that it has no
-- constraint, where a list of all six remainders was one, planned and checked anew by each statement
-- that writes to it, a tenth of the trigger. Nothing is read or written for it.

-- Both have to be locked first, against transactions that come to them in either order: what attach
-- makes writes to rowcast.log, and from the ninth statement on to rowcast.event; looks, rowcast.emit and
-- announced channels begin with rowcast.event. Whoever has one and waits for the other may be in a circle
-- with a writer, and PostgreSQL aborts the one that has waited for deadlock_timeout. So for about half a
-- second nobody is kept waiting at all. Where writers follow each other too closely for that, those
-- that began with rowcast.log are let out while nobody is let in, then those that began with
-- rowcast.event. Each takes two waits at most, together half of deadlock_timeout (src/migrate.rs), and
-- gives way. For a leaf nobody waits.
do $$
begin
  for v_try in 1..500 loop
    begin
      lock table rowcast.event in access exclusive mode nowait;
      return;
    exception
      when lock_not_available then
        perform pg_sleep(0.001);
    end;
  end loop;
  begin
    -- Looks read this before rowcast.event: they would have that, and wait behind us.
    lock table rowcast.history_mark in access exclusive mode;
    lock table only rowcast.log in access exclusive mode;
    lock table rowcast.event in access exclusive mode nowait;
    return;
  exception
    when lock_not_available then null;
  end;
  lock table only rowcast.event in access exclusive mode;
  lock table only rowcast.log in access exclusive mode;
  lock table rowcast.event in access exclusive mode nowait;
end
$$;
alter table rowcast.event detach partition rowcast.log;
alter table rowcast.event attach partition rowcast.log default;
