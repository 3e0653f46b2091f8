-- How bookings are told at commit; bookings.sql explains the three steps.

-- Step 1: notes what one statement on boardroom.bookings or boardroom.attendees did. An error is
-- recorded as lost events; it never reaches the application. A serializable transaction reads no
-- table of ours, which could fail it: each of its statements is told by itself, and a booking that
-- it deletes is told without attendees.
-- No variable is of a type of Rowcast's: it would fail the application's write after schema rowcast
-- was dropped.
create or replace function boardroom_push.note() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_serializable boolean := current_setting('transaction_isolation') = 'serializable';
  v_old jsonb[] := '{}';
  v_new jsonb[] := '{}';
  v_changes boardroom_push.change[];
begin
  -- Schema rowcast may be dropped while this trigger stays: then nobody is to be told, and the
  -- application writes on.
  if to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    if tg_op in ('UPDATE', 'DELETE') then
      v_old := array(select to_jsonb(o) from old_rows o);
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
      v_new := array(select to_jsonb(n) from new_rows n);
    end if;
    v_changes := array(
      select row(pg_current_xact_id(), 0, c.booking_id, c.attendee, c.step, c.was, c.became,
        row_number() over () = 1)::boardroom_push.change
      from (
        -- A booking that was given another id is an old one that ended and a new one that began.
        select coalesce(o ->> 'booking_id', n ->> 'booking_id'), null::text, null::bigint,
          case when n is null then boardroom_push.gone(o) else o end, n
        from unnest(v_old) o
        full join unnest(v_new) n on n ->> 'booking_id' = o ->> 'booking_id'
        where tg_table_name = 'bookings'
        union all
        select a.booking_id, a.user_id, sum(a.step), (
          select to_jsonb(boardroom_push.person(u)) from boardroom.users u
          where sum(a.step) < 0 and not v_serializable and u.user_id = a.user_id
        ), null
        from (
          select o ->> 'booking_id', o ->> 'user_id', -1 from unnest(v_old) o
          union all select n ->> 'booking_id', n ->> 'user_id', 1 from unnest(v_new) n
        ) a (booking_id, user_id, step)
        where tg_table_name = 'attendees'
        group by a.booking_id, a.user_id
        having sum(a.step) <> 0
      ) c (booking_id, attendee, step, was, became)
    );
    if v_serializable then
      insert into rowcast.event (channel, name, rooms, data, render)
      select e.channel, e.name, e.rooms, e.data, e.render from boardroom_push.tell(v_changes) e;
      v_changes := null;
    end if;
  exception
    when others then
      perform rowcast.record_failure('bookings', tg_relid::regclass::text, lower(tg_op), sqlstate,
        sqlerrm, 'boardroom_push.note');
      return null;
  end;
  insert into boardroom_push.change (xid, booking_id, attendee, step, was, became, fires)
  select c.xid, c.booking_id, c.attendee, c.step, c.was, c.became, c.fires
  from unnest(v_changes) c;
  return null;
end
$$;

-- Step 3: at commit, tells what the transaction did.
create or replace function boardroom_push.tell_at_commit() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes boardroom_push.change[];
begin
  with taken as (
    delete from boardroom_push.change c where c.xid = pg_current_xact_id() returning c
  )
  select array_agg(t.c) into v_changes from taken t;
  -- An earlier statement's row has told it all, or there is nobody left to tell.
  if v_changes is null or to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    insert into rowcast.event (channel, name, rooms, data, render)
    select e.channel, e.name, e.rooms, e.data, e.render from boardroom_push.tell(v_changes) e;
  exception
    when others then
      perform rowcast.record_failure('bookings', 'boardroom.bookings', 'commit', sqlstate, sqlerrm,
        'boardroom_push.tell_at_commit');
  end;
  return null;
end
$$;

-- The functions belong to rowcast_owner; the triggers are made where they are missing, because
-- CREATE TRIGGER waits for writers, and makes others wait behind it.
do $$
declare
  v_function regprocedure;
  v_table regclass;
  v_operation text;
begin
  foreach v_function in array array[
    'boardroom_push.note()', 'boardroom_push.tell(boardroom_push.change[])',
    'boardroom_push.tell_at_commit()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner, %I', v_function, current_user);
  end loop;
  for v_table, v_operation in
    select t, o from unnest(array['boardroom.bookings', 'boardroom.attendees']::regclass[]) t
    cross join unnest(array['insert', 'update', 'delete']) o
  loop
    continue when exists (
      select from pg_trigger t
      where t.tgrelid = v_table and t.tgname = '_900_boardroom_push_' || v_operation
    );
    execute format(
      'create trigger %I after %s on %s referencing %s '
      'for each statement execute function boardroom_push.note()',
      '_900_boardroom_push_' || v_operation, v_operation, v_table,
      case v_operation when 'insert' then 'new table as new_rows'
        when 'delete' then 'old table as old_rows'
        else 'old table as old_rows new table as new_rows' end
    );
  end loop;
  if not exists (
    select from pg_trigger t where t.tgrelid = 'boardroom_push.change'::regclass
      and t.tgname = '_900_boardroom_push_commit'
  ) then
    create constraint trigger _900_boardroom_push_commit after insert on boardroom_push.change
    deferrable initially deferred for each row when (new.fires)
    execute function boardroom_push.tell_at_commit();
  end if;
end
$$;
