-- How positions are told at commit; waitlist.sql explains the three steps.

-- The places that transactions under way took (step 1) and gave up (-1). Emptied as they commit.
create table if not exists lab_push.waitlist_change (
  xid xid8 not null,
  slot_id bigint not null,
  waitlist_id bigint not null,
  joined_at timestamptz not null,
  step integer not null,
  fires boolean not null
);
create index if not exists waitlist_change_xid on lab_push.waitlist_change (xid);
alter table lab_push.waitlist_change owner to rowcast_owner;
comment on column lab_push.waitlist_change.fires is
  'True for one row of each statement: the one that fires the deferred trigger.';

-- Step 1: who joined and who left, by one statement. An error is recorded as lost events; it never
-- reaches the application. A transaction with a snapshot of its own (repeatable read, serializable)
-- would not see at commit what others changed, so it tells at once; nor does it read a table of
-- ours, which could fail it when serializable.
-- No variable is of a type of Rowcast's: it would fail the application's write after schema rowcast
-- was dropped.
create or replace function lab_push.note_waitlist() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes lab_push.waitlist_change[];
begin
  -- Schema rowcast may be dropped while this trigger stays: then nobody is to be told, and the
  -- application writes on.
  if to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    if tg_op = 'INSERT' then
      v_changes := array(
        select row(pg_current_xact_id(), n.slot_id, n.waitlist_id, n.joined_at, 1,
          row_number() over () = 1)::lab_push.waitlist_change
        from new_rows n where n.status in ('waiting', 'offered')
      );
    elsif tg_op = 'DELETE' then
      v_changes := array(
        select row(pg_current_xact_id(), o.slot_id, o.waitlist_id, o.joined_at, -1,
          row_number() over () = 1)::lab_push.waitlist_change
        from old_rows o where o.status in ('waiting', 'offered')
      );
    else
      v_changes := array(
        select row(pg_current_xact_id(), p.slot_id, p.waitlist_id, p.joined_at, sum(p.step),
          row_number() over () = 1)::lab_push.waitlist_change
        from (
          select o.slot_id, o.waitlist_id, o.joined_at, -1
          from old_rows o where o.status in ('waiting', 'offered')
          union all
          select n.slot_id, n.waitlist_id, n.joined_at, 1
          from new_rows n where n.status in ('waiting', 'offered')
        ) p (slot_id, waitlist_id, joined_at, step)
        group by p.slot_id, p.waitlist_id, p.joined_at
        having sum(p.step) <> 0
      );
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
      insert into rowcast.event (channel, name, rooms, data, render)
      select e.channel, e.name, e.rooms, e.data, e.render
      from lab_push.position_changes(v_changes) e;
      v_changes := null;
    end if;
  exception
    when others then
      perform rowcast.record_failure('waitlist', 'lab.waitlist', lower(tg_op), sqlstate, sqlerrm,
        'lab_push.note_waitlist');
      return null;
  end;
  insert into lab_push.waitlist_change select c.* from unnest(v_changes) c;
  return null;
end
$$;

-- One transaction at a time looks at a line, or the second could not see who joined by the first.
-- The locks are advisory ones of our own, taken in order. Not getting them soon is no error:
-- whoever joins just then may not be told of this change.
create or replace function lab_push.wait_for_lines(p_slots bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- Shorter than deadlock_timeout, so that nobody is ever shot; a commit takes a few milliseconds.
set lock_timeout = '50ms'
as $$
declare
  v_key integer;
begin
  -- Each lock takes room in shared memory that everybody needs.
  if cardinality(p_slots) > 32 then
    return;
  end if;
  for v_key in select distinct hashint8(slot_id) from unnest(p_slots) slot_id order by 1 loop
    perform pg_advisory_xact_lock(hashtext('lab_push.waitlist'), v_key);
  end loop;
exception
  when lock_not_available or deadlock_detected then null;
end
$$;

-- Step 2: compares the lines that this transaction changed with what they were without it.
create or replace function lab_push.position_changes(p_changes lab_push.waitlist_change[])
returns setof rowcast.emission
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  -- Every place in the lines now (1) and before (1): what is there, less what was joined, plus what
  -- was left. No joins: a line may be long.
  with place as (
    select p.slot_id, p.waitlist_id, p.joined_at, max(p.user_id) as user_id,
      sum(p.now) as now, sum(p.before) as before
    from (
      select w.slot_id, w.waitlist_id, w.joined_at, w.user_id, 1, 1
      from lab.waitlist w
      where w.slot_id in (select c.slot_id from unnest(p_changes) c)
        and w.status in ('waiting', 'offered')
      union all
      select c.slot_id, c.waitlist_id, c.joined_at, null, 0, -c.step
      from unnest(p_changes) c
    ) p (slot_id, waitlist_id, joined_at, user_id, now, before)
    group by p.slot_id, p.waitlist_id, p.joined_at
  ),
  ranked as (
    select p.*, sum(p.now) over line as new_position, sum(p.before) over line as old_position
    from place p
    window line as (partition by p.slot_id order by p.joined_at, p.waitlist_id)
  ),
  moved as (
    select r.slot_id, r.waitlist_id, max(r.user_id) as user_id,
      max(r.old_position) filter (where r.before = 1) as old,
      max(r.new_position) filter (where r.now = 1) as new
    from ranked r
    group by r.slot_id, r.waitlist_id
  )
  select
    'waitlist', 'waitlist:position-changed', array['user:' || m.user_id],
    json_build_object('waitlistId', m.waitlist_id, 'userId', m.user_id, 'oldPosition', m.old),
    'lab_push.waitlist_position'
  from moved m
  where m.old <> m.new
  order by m.slot_id, m.new
$$;

-- Step 3: at commit, tells the changes.
create or replace function lab_push.tell_positions() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes lab_push.waitlist_change[];
begin
  with taken as (
    delete from lab_push.waitlist_change c where c.xid = pg_current_xact_id() returning c
  )
  select array_agg(t.c) into v_changes from taken t;
  -- An earlier statement's row has told it all, or there is nobody left to tell.
  if v_changes is null or to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    perform lab_push.wait_for_lines(array(select distinct c.slot_id from unnest(v_changes) c));
    insert into rowcast.event (channel, name, rooms, data, render)
    select e.channel, e.name, e.rooms, e.data, e.render
    from lab_push.position_changes(v_changes) e;
  exception
    when others then
      perform rowcast.record_failure('waitlist', 'lab.waitlist', 'commit', sqlstate, sqlerrm,
        'lab_push.tell_positions');
  end;
  return null;
end
$$;

-- As it was when new positions were counted at commit.
drop function if exists lab_push.position_changes(lab_push.waitlist_change[], boolean);
drop function if exists lab_push.lock_lines(bigint[]);

-- The functions belong to rowcast_owner; the triggers are made where they are missing, because
-- CREATE TRIGGER waits for writers, and makes others wait behind it.
do $$
declare
  v_function regprocedure;
  v_operation text;
begin
  foreach v_function in array array[
    'lab_push.note_waitlist()', 'lab_push.tell_positions()', 'lab_push.wait_for_lines(bigint[])',
    'lab_push.position_changes(lab_push.waitlist_change[])',
    'lab_push.spot_available(jsonb[])', 'lab_push.waitlist_position(jsonb[])',
    'lab_push.next_if_free(bigint)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner, %I', v_function, current_user);
  end loop;
  foreach v_operation in array array['insert', 'update', 'delete'] loop
    if not exists (
      select from pg_trigger t
      where t.tgrelid = 'lab.waitlist'::regclass and t.tgname = '_900_lab_push_' || v_operation
    ) then
      execute format(
        'create trigger %I after %s on lab.waitlist referencing %s '
        'for each statement execute function lab_push.note_waitlist()',
        '_900_lab_push_' || v_operation, v_operation,
        case v_operation when 'insert' then 'new table as new_rows'
          when 'delete' then 'old table as old_rows'
          else 'old table as old_rows new table as new_rows' end
      );
    end if;
  end loop;
  if not exists (
    select from pg_trigger t where t.tgrelid = 'lab_push.waitlist_change'::regclass
      and t.tgname = '_900_lab_push_commit'
  ) then
    create constraint trigger _900_lab_push_commit after insert on lab_push.waitlist_change
    deferrable initially deferred for each row when (new.fires)
    execute function lab_push.tell_positions();
  end if;
end
$$;
