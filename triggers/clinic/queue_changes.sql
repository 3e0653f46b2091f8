-- Step 1 of telling places (queue_positions.sql): notes of who joined the line and who left it.

-- The places that transactions under way took (step 1) and gave up (-1). Emptied as they commit.
create table if not exists clinic_push.changed (
  xid xid8 not null,
  visit_id bigint,
  patient_id text,
  checked_in_at timestamptz,
  step integer not null,
  fires boolean not null
);
create index if not exists changed_xid on clinic_push.changed (xid);
alter table clinic_push.changed owner to rowcast_owner;
comment on column clinic_push.changed.visit_id is 'Null: the wait of everybody has changed.';
comment on column clinic_push.changed.fires is
  'True for one row of each statement: the one that fires the deferred trigger.';

-- The visits to which get_ready was told: once, even if others are let in before.
create table if not exists clinic_push.readied (
  visit_id bigint not null,
  patient_id text not null,
  constraint readied_pkey primary key (visit_id, patient_id)
);
alter table clinic_push.readied owner to rowcast_owner;

-- Everybody is to read anew; told once a transaction.
create or replace function clinic_push.tell_gap() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction text := pg_current_xact_id()::text;
begin
  if current_setting('clinic_push.gap_told', true) is distinct from v_transaction then
    perform rowcast.tell_rooms('rowcast:gap', '{"reason":"trigger"}',
      array[row('queue', '*')::rowcast.concern]);
    perform set_config('clinic_push.gap_told', v_transaction, true);
  end if;
end
$$;

-- Who joined and who left by one statement. An error is recorded as lost events; it never
-- reaches the application. A serializable transaction tells everybody to read anew instead: to read
-- these notes and the line would make such transactions fail each other.
create or replace function clinic_push.note_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes clinic_push.changed[];
  v_waits_change boolean;
  v_serializable boolean := current_setting('transaction_isolation') = 'serializable';
begin
  -- Schema rowcast may be dropped while this trigger stays: then nobody is to be told, and the
  -- application writes on.
  if to_regclass('rowcast.event') is null then
    return null;
  end if;
  begin
    if tg_table_name = 'settings' then
      -- A statement may have written no row, or the same minutes again; TRUNCATE does not say.
      if tg_op = 'INSERT' then
        v_waits_change := exists (select from new_rows);
      elsif tg_op = 'UPDATE' then
        v_waits_change := exists (
          select from new_rows n join old_rows o using (only_row)
          where o.minutes_between_calls <> n.minutes_between_calls
        );
      elsif tg_op = 'DELETE' then
        v_waits_change := exists (select from old_rows);
      else
        v_waits_change := true;
      end if;
      if v_waits_change then
        v_changes :=
          array[row(pg_current_xact_id(), null, null, null, 0, true)::clinic_push.changed];
      end if;
    elsif tg_op = 'INSERT' then
      v_changes := array(
        select row(pg_current_xact_id(), n.visit_id, n.patient_id, n.checked_in_at, 1,
          row_number() over () = 1)::clinic_push.changed
        from new_rows n where n.status = 'waiting'
      );
    elsif tg_op = 'UPDATE' then
      v_changes := array(
        select row(pg_current_xact_id(), p.visit_id, p.patient_id, p.checked_in_at, sum(p.step),
          row_number() over () = 1)::clinic_push.changed
        from (
          select o.visit_id, o.patient_id, o.checked_in_at, -1
          from old_rows o where o.status = 'waiting'
          union all
          select n.visit_id, n.patient_id, n.checked_in_at, 1
          from new_rows n where n.status = 'waiting'
        ) p (visit_id, patient_id, checked_in_at, step)
        group by p.visit_id, p.patient_id, p.checked_in_at
        having sum(p.step) <> 0
      );
    elsif tg_op = 'DELETE' then
      v_changes := array(
        select row(pg_current_xact_id(), o.visit_id, o.patient_id, o.checked_in_at, -1,
          row_number() over () = 1)::clinic_push.changed
        from old_rows o where o.status = 'waiting'
      );
      if not v_serializable then
        delete from clinic_push.readied r using old_rows o
        where r.visit_id = o.visit_id and r.patient_id = o.patient_id;
      end if;
    else
      -- TRUNCATE has the table to itself, at whatever level.
      delete from clinic_push.readied;
    end if;
    if v_serializable then
      if cardinality(v_changes) > 0 then
        perform clinic_push.tell_gap();
      end if;
      return null;
    end if;
  exception
    when others then
      perform rowcast.record_failure('queue', 'clinic.queue', lower(tg_op), sqlstate, sqlerrm,
        'clinic_push.note_change');
      return null;
  end;
  insert into clinic_push.changed select c.* from unnest(v_changes) c;
  return null;
end
$$;
