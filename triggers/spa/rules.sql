-- What the application sees to: the flow of a booking's status, that it is paid for, that the
-- therapist works then, and what MySQL's ON UPDATE CURRENT_TIMESTAMP did. Errors are 23514 with the
-- name of a constraint, as a check's would be.

-- MySQL sets the column when a statement changes another one and does not name this.
create or replace function spa.touch_updated_at() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

create or replace function spa.may_follow(p_old text, p_new text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_old
    when 'SCHEDULED' then p_new in ('CONFIRMED', 'CANCELLED', 'NO_SHOW')
    when 'CONFIRMED' then p_new in ('IN_PROGRESS', 'CANCELLED', 'NO_SHOW')
    when 'IN_PROGRESS' then p_new in ('COMPLETED', 'CANCELLED')
    else false
  end
$$;

create or replace function spa.refuse_booking(p_rule text, p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'check_violation', schema = 'spa', table = 'bookings',
    constraint = p_rule, message = p_message;
end
$$;

-- Payment comes first: an item of this customer and service, paid, and not used up. Its row is
-- locked, so that of two bookings at once the second counts the first. Cancelling gives it back.
create or replace function spa.check_paid(p_booking spa.bookings) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quantity integer;
begin
  select i.quantity into v_quantity
  from spa.payment_items i
  join spa.payments p on p.payment_id = i.payment_id
  where i.payment_item_id = p_booking.payment_item_id and i.service_id = p_booking.service_id
    and p.customer_id = p_booking.customer_id and p.payment_status = 'PAID'
  for no key update of i;
  if v_quantity is null then
    perform spa.refuse_booking('bookings_paid_first', format(
      'customer %s has paid for no service %s by payment item %s',
      p_booking.customer_id, p_booking.service_id, p_booking.payment_item_id
    ));
  elsif v_quantity <= (
    select count(*) from spa.bookings b
    where b.payment_item_id = p_booking.payment_item_id
      and b.booking_id <> p_booking.booking_id and b.booking_status <> 'CANCELLED'
  ) then
    perform spa.refuse_booking('bookings_within_quantity', format(
      'payment item %s is used up', p_booking.payment_item_id
    ));
  end if;
end
$$;

create or replace function spa.check_therapist(p_booking spa.bookings) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from spa.therapist_services t
    where t.therapist_user_id = p_booking.therapist_user_id
      and t.service_id = p_booking.service_id
  ) then
    perform spa.refuse_booking('bookings_service_offered', format(
      'therapist %s offers no service %s', p_booking.therapist_user_id, p_booking.service_id
    ));
  elsif (
    select range_agg(tsrange(s.work_date + s.start_time, s.work_date + s.end_time))
    from spa.therapist_schedules s
    where s.therapist_user_id = p_booking.therapist_user_id
      and s.work_date = p_booking.appointment_date
  ) @> tsrange(
    p_booking.appointment_date + p_booking.appointment_time,
    p_booking.appointment_date + p_booking.appointment_time
      + make_interval(mins => p_booking.duration_minutes)
  ) is not true then
    perform spa.refuse_booking('bookings_working_time', format(
      'therapist %s does not work then', p_booking.therapist_user_id
    ));
  end if;
end
$$;

create or replace function spa.check_booking() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    if new.booking_status <> 'SCHEDULED' then
      perform spa.refuse_booking('bookings_status_flow', 'a booking begins as SCHEDULED');
    end if;
  elsif new.booking_status <> old.booking_status
    and not spa.may_follow(old.booking_status, new.booking_status)
  then
    perform spa.refuse_booking('bookings_status_flow', format(
      'a booking that is %s does not become %s', old.booking_status, new.booking_status
    ));
  end if;
  if tg_op = 'INSERT' or (new.customer_id, new.payment_item_id, new.service_id)
    <> (old.customer_id, old.payment_item_id, old.service_id)
  then
    perform spa.check_paid(new);
  end if;
  if tg_op = 'INSERT' or (new.service_id, new.therapist_user_id, new.appointment_date,
      new.appointment_time, new.duration_minutes)
    <> (old.service_id, old.therapist_user_id, old.appointment_date,
      old.appointment_time, old.duration_minutes)
  then
    perform spa.check_therapist(new);
  end if;
  return new;
end
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa.touch_updated_at()', 'spa.may_follow(text, text)', 'spa.refuse_booking(text, text)',
    'spa.check_paid(spa.bookings)', 'spa.check_therapist(spa.bookings)', 'spa.check_booking()'
  ]::regprocedure[] loop
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to spa_app', v_function);
  end loop;
end
$$;

-- Made where they are missing, because CREATE TRIGGER waits for writers.
do $$
declare
  v_table text;
begin
  foreach v_table in array array['bookings', 'therapist_schedules'] loop
    if not exists (
      select from pg_trigger t
      where t.tgrelid = ('spa.' || v_table)::regclass and t.tgname = 'touch_updated_at'
    ) then
      execute format(
        'create trigger touch_updated_at before update on spa.%I for each row '
        'when (old.* is distinct from new.* and new.updated_at = old.updated_at) '
        'execute function spa.touch_updated_at()',
        v_table
      );
    end if;
  end loop;
  if not exists (
    select from pg_trigger t
    where t.tgrelid = 'spa.bookings'::regclass and t.tgname = 'check_booking'
  ) then
    create trigger check_booking before insert or update on spa.bookings
    for each row execute function spa.check_booking();
  end if;
end
$$;
