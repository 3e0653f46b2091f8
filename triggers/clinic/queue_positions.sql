-- position_update to everybody whose place or wait changed, and get_ready, once a visit, to who has
-- come within two places of being next. Both need what was and what is, so they are told at commit,
-- in two steps: statements on clinic.queue note that the line changed; at commit a deferred trigger
-- on those notes compares the line with what everybody was told last, one transaction at a time.
-- It never locks or waits for the application's rows.

-- What was told last, by visit and patient; position is null once they left the line.
create table if not exists clinic_push.told (
  visit_id bigint not null,
  patient_id text not null,
  position bigint,
  estimated_wait bigint,
  get_ready boolean not null,
  constraint told_pkey primary key (visit_id, patient_id)
) with (fillfactor = 70);
create index if not exists told_line on clinic_push.told (visit_id) where position is not null;
alter table clinic_push.told owner to rowcast_owner;
comment on column clinic_push.told.get_ready is
  'Whether get_ready was told: once a visit, even if others are let in before.';

-- The notes of transactions under way. Emptied as they commit.
create table if not exists clinic_push.changed (
  xid xid8 not null,
  gone boolean not null
);
create index if not exists changed_xid on clinic_push.changed (xid);
alter table clinic_push.changed owner to rowcast_owner;
comment on column clinic_push.changed.gone is
  'Visits were deleted, so that what was told of them can be as well.';

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

-- Step 1: notes a statement that changed the line, or the minutes between calls. An error is
-- recorded as lost events; it never reaches the application.
create or replace function clinic_push.note_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changed boolean := true;
  v_gone boolean := tg_op in ('DELETE', 'TRUNCATE');
begin
  begin
    if tg_table_name = 'queue' and tg_op = 'INSERT' then
      v_changed := exists (select from new_rows n where n.status = 'waiting');
    elsif tg_table_name = 'queue' and tg_op = 'DELETE' then
      v_changed := exists (select from old_rows);
    elsif tg_table_name = 'queue' and tg_op = 'UPDATE' then
      v_changed := exists (
        select from (
          select o.visit_id, o.patient_id, o.checked_in_at, -1 as step
          from old_rows o where o.status = 'waiting'
          union all
          select n.visit_id, n.patient_id, n.checked_in_at, 1
          from new_rows n where n.status = 'waiting'
        ) p
        group by p.visit_id, p.patient_id, p.checked_in_at
        having sum(p.step) <> 0
      );
    end if;
  exception
    when others then
      perform rowcast.record_failure('queue', 'clinic.queue', lower(tg_op), sqlstate, sqlerrm,
        'clinic_push.note_change');
      return null;
  end;
  if v_changed then
    insert into clinic_push.changed (xid, gone) values (pg_current_xact_id(), v_gone);
  end if;
  return null;
end
$$;

-- One transaction at a time compares, or the second could not see what the first changed; the lock
-- is an advisory one of our own. False if it is not to be had, or if this transaction's snapshot
-- (repeatable read, serializable) is older than the last comparison.
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

-- Step 2: at commit, the line against what was told. Who can't compare tells everybody to read
-- anew, and leaves the difference to the next who can.
create or replace function clinic_push.tell_positions() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gone boolean;
begin
  with taken as (
    delete from clinic_push.changed c where c.xid = pg_current_xact_id() returning c.gone
  )
  select bool_or(t.gone) into v_gone from taken t;
  if v_gone is null then
    return null;  -- An earlier statement's note has told it all.
  end if;
  begin
    if clinic_push.may_compare() then
      perform clinic_push.tell_moved();
      if v_gone then
        delete from clinic_push.told t where not exists (
          select from clinic.queue q where q.visit_id = t.visit_id and q.patient_id = t.patient_id
        );
      end if;
    else
      perform rowcast.tell_rooms('rowcast:gap', '{"reason":"trigger"}',
        array[row('queue', '*')::rowcast.concern]);
    end if;
  exception
    when others then
      perform rowcast.record_failure('queue', 'clinic.queue', 'commit', sqlstate, sqlerrm,
        'clinic_push.tell_positions');
  end;
  return null;
end
$$;

-- Writes the events of all who moved, and that they were told. Above 10,000, which is more than is
-- replayed to anybody, the patients concerned are told to read anew.
create or replace function clinic_push.tell_moved() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved clinic_push.told[];
begin
  update clinic_push.told t set position = null, estimated_wait = null
  where t.position is not null and not exists (
    select from clinic.queue q
    where q.visit_id = t.visit_id and q.patient_id = t.patient_id and q.status = 'waiting'
  );
  v_moved := array(
    select row(l.visit_id, l.patient_id, l.position, l.estimated_wait,
      coalesce(t.get_ready, false))::clinic_push.told
    from clinic_push.line() l
    left join clinic_push.told t on t.visit_id = l.visit_id and t.patient_id = l.patient_id
    where (t.position, t.estimated_wait) is distinct from (l.position, l.estimated_wait)
    order by l.position
  );
  insert into clinic_push.told as t
  select m.visit_id, m.patient_id, m.position, m.estimated_wait, m.get_ready or m.position <= 3
  from unnest(v_moved) m
  on conflict on constraint told_pkey do update
  set position = excluded.position, estimated_wait = excluded.estimated_wait,
    get_ready = excluded.get_ready;
  if cardinality(v_moved) > 10000 then
    perform rowcast.tell_rooms('reset', '{"table":"clinic.queue"}',
      array(select row('queue', 'patient_' || m.patient_id)::rowcast.concern
        from unnest(v_moved) m));
  end if;
  insert into rowcast.event (channel, name, rooms, data, render)
  select 'queue', e.name, array['patient_' || m.patient_id], e.data, e.render
  from unnest(v_moved) with ordinality m
  cross join lateral (values
    ('position_update', json_build_object('visitId', m.visit_id, 'patientId', m.patient_id),
      'clinic_push.position_update', cardinality(v_moved) <= 10000),
    ('get_ready', json_build_object('type', 'get_ready', 'message',
      'Please get ready: you are number ' || m.position || ' in line.', 'position', m.position,
      'estimatedWait', m.estimated_wait, 'timestamp', clinic_push.iso(statement_timestamp())),
      null, m.position <= 3 and not m.get_ready)
  ) e (name, data, render, wanted)
  where e.wanted
  order by m.ordinality, e.name desc;
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
    'clinic_push.position_update(jsonb[])', 'clinic_push.note_change()',
    'clinic_push.may_compare()', 'clinic_push.tell_positions()', 'clinic_push.tell_moved()'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner, %I', v_function, current_user);
  end loop;
  for v_table, v_operation in
    values ('queue', 'insert'), ('queue', 'update'), ('queue', 'delete'), ('queue', 'truncate'),
      ('settings', 'insert'), ('settings', 'update')
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
    deferrable initially deferred for each row execute function clinic_push.tell_positions();
  end if;
end
$$;
