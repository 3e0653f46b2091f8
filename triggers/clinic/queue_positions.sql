-- position_update to everybody whose place or wait changed, and get_ready, once a visit, to who has
-- come within two places of being next. Both need what was and what is, so they are told at commit,
-- in two steps: statements on clinic.queue note who joined the line and who left it
-- (queue_changes.sql); at commit a deferred trigger on those notes compares the line with what it
-- was, one transaction at a time. It never locks or waits for the application's rows.

-- The transaction that compared last, as a number: a sequence, which old snapshots see too.
create sequence if not exists clinic_push.compared as bigint;
alter sequence clinic_push.compared owner to rowcast_owner;

-- The payload of position_update, found when it is read: the place as it is by then. Its key is
-- {"visitId","patientId"}.
create or replace function clinic_push.position_update(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_build_object('type', 'position_update', 'position', l.position,
    'estimatedWait', l.estimated_wait, 'timestamp', clinic_push.iso(now()))
  from unnest(p_keys) k (key)
  join clinic_push.line() l on l.visit_id = (k.key ->> 'visitId')::bigint
    and l.patient_id = k.key ->> 'patientId'
$$;

-- One transaction at a time compares, or the second could not see what the first changed; the lock
-- is an advisory one of our own. False if it is not to be had, or if this transaction's snapshot
-- (repeatable read) is older than the last comparison. A serializable one never comes here
-- (queue_changes.sql).
create or replace function clinic_push.may_compare() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
-- Below deadlock_timeout's default, so that nobody is shot. A hundred commits take less.
set lock_timeout = '800ms'
as $$
declare
  v_last bigint;
begin
  perform pg_advisory_xact_lock(hashtext('clinic_push.queue'), 0);
  select last_value into v_last from clinic_push.compared;
  perform setval('clinic_push.compared', pg_current_xact_id()::text::bigint);
  return current_setting('transaction_isolation') = 'read committed'
    or v_last::text::xid8 = pg_current_xact_id()
    or pg_visible_in_snapshot(v_last::text::xid8, pg_current_snapshot());
exception
  when lock_not_available or deadlock_detected then return false;
end
$$;

-- Who has another place than before these changes, or a place at all. What is there, less what was
-- joined, plus what was left, is what was. No joins: a line may be long.
create or replace function clinic_push.moved(p_changes clinic_push.changed[])
returns table (visit_id bigint, patient_id text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with place as (
    select p.visit_id, p.patient_id, p.checked_in_at, sum(p.now) as now, sum(p.before) as before
    from (
      select q.visit_id, q.patient_id, q.checked_in_at, 1, 1
      from clinic.queue q where q.status = 'waiting'
      union all
      select c.visit_id, c.patient_id, c.checked_in_at, 0, -c.step
      from unnest(p_changes) c where c.visit_id is not null
    ) p (visit_id, patient_id, checked_in_at, now, before)
    group by p.visit_id, p.patient_id, p.checked_in_at
  ),
  ranked as (
    select p.*, sum(p.now) over line as new_position, sum(p.before) over line as old_position
    from place p
    window line as (order by p.checked_in_at, p.visit_id, p.patient_id)
  ),
  moved as (
    select r.visit_id, r.patient_id,
      max(r.old_position) filter (where r.before = 1) as old,
      max(r.new_position) filter (where r.now = 1) as new
    from ranked r
    group by r.visit_id, r.patient_id
  )
  select m.visit_id, m.patient_id
  from moved m
  where m.new is not null and (
    m.old is distinct from m.new
    or exists (select from unnest(p_changes) c where c.visit_id is null)
  )
  order by m.new
$$;

-- Writes the events. Above 10,000, which is more than is replayed to anybody, the patients
-- concerned are told to read anew.
create or replace function clinic_push.tell_moved(p_changes clinic_push.changed[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- Whoever compares next waits meanwhile.
set lock_timeout = '800ms'
as $$
declare
  v_visits bigint[];
  v_patients text[];
begin
  select array_agg(m.visit_id), array_agg(m.patient_id) into v_visits, v_patients
  from clinic_push.moved(p_changes) m;
  if cardinality(v_visits) > 10000 then
    perform rowcast.tell_rooms('reset', '{"table":"clinic.queue"}',
      array(select row('queue', 'patient_' || p)::rowcast.concern from unnest(v_patients) p));
  else
    insert into rowcast.event (channel, name, rooms, data, render)
    select 'queue', 'position_update', array['patient_' || m.patient_id],
      json_build_object('visitId', m.visit_id, 'patientId', m.patient_id),
      'clinic_push.position_update'
    from unnest(v_visits, v_patients) m (visit_id, patient_id);
  end if;

  with near as (
    select l.* from clinic_push.line() l order by l.position limit 3
  ),
  -- Who is in it already is not offered again: that would wait for a transaction that deletes the
  -- visit, however long it stays open.
  readied as (
    insert into clinic_push.readied
    select n.visit_id, n.patient_id from near n
    where not exists (
      select from clinic_push.readied r
      where r.visit_id = n.visit_id and r.patient_id = n.patient_id
    )
    on conflict do nothing returning visit_id
  )
  insert into rowcast.event (channel, name, rooms, data)
  select 'queue', 'get_ready', array['patient_' || n.patient_id],
    json_build_object('type', 'get_ready', 'message',
      'Please get ready: you are number ' || n.position || ' in line.', 'position', n.position,
      'estimatedWait', n.estimated_wait, 'timestamp', clinic_push.iso(statement_timestamp()))
  from near n
  where n.visit_id in (select r.visit_id from readied r)
  order by n.position;
end
$$;

-- Step 2: at commit, compares and tells. Who can't compare tells everybody to read anew instead.
create or replace function clinic_push.tell_positions() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes clinic_push.changed[];
begin
  with taken as (
    delete from clinic_push.changed c where c.xid = pg_current_xact_id() returning c
  )
  select array_agg(t.c) into v_changes from taken t;
  -- An earlier statement's row has told it all, or there is nobody left to tell.
  if v_changes is null or to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    if clinic_push.may_compare() then
      perform clinic_push.tell_moved(v_changes);
    else
      perform clinic_push.tell_gap();
    end if;
  exception
    when others then
      perform rowcast.record_failure('queue', 'clinic.queue', 'commit', sqlstate, sqlerrm,
        'clinic_push.tell_positions');
  end;
  return null;
end
$$;

-- The functions belong to rowcast_owner; the triggers are made where they are missing, because
-- CREATE TRIGGER waits for writers, and makes others wait behind it.
do $$
declare
  v_function regprocedure;
  v_table text;
  v_operation text;
begin
  foreach v_function in array array[
    'clinic_push.position_update(jsonb[])', 'clinic_push.tell_gap()', 'clinic_push.note_change()',
    'clinic_push.may_compare()', 'clinic_push.moved(clinic_push.changed[])',
    'clinic_push.tell_moved(clinic_push.changed[])', 'clinic_push.tell_positions()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner, %I', v_function, current_user);
  end loop;
  for v_table, v_operation in
    values ('queue', 'insert'), ('queue', 'update'), ('queue', 'delete'), ('queue', 'truncate'),
      ('settings', 'insert'), ('settings', 'update'), ('settings', 'delete'),
      ('settings', 'truncate')
  loop
    if not exists (
      select from pg_trigger t
      where t.tgrelid = format('clinic.%I', v_table)::regclass
        and t.tgname = '_900_clinic_push_' || v_operation
    ) then
      execute format(
        'create trigger %I after %s on clinic.%I %s '
        'for each statement execute function clinic_push.note_change()',
        '_900_clinic_push_' || v_operation, v_operation, v_table,
        case v_operation when 'insert' then 'referencing new table as new_rows'
          when 'delete' then 'referencing old table as old_rows'
          when 'update' then 'referencing old table as old_rows new table as new_rows'
          else '' end
      );
    end if;
  end loop;
  if not exists (
    select from pg_trigger t where t.tgrelid = 'clinic_push.changed'::regclass
      and t.tgname = '_900_clinic_push_commit'
  ) then
    create constraint trigger _900_clinic_push_commit after insert on clinic_push.changed
    deferrable initially deferred for each row when (new.fires)
    execute function clinic_push.tell_positions();
  end if;
end
$$;
