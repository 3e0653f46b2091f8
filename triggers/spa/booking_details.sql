-- What events hold of a booking, for each kind of viewer (availability.sql): the role filter.

-- A booking as a kind of viewer may see it; what one may not see is left out. Therapists see no
-- prices, receptionists no notes. To add a field to a booking, add it here.
create or replace function spa_push.booking_as(p_viewer text, p_booking spa.bookings) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select json_strip_nulls(json_build_object(
      'bookingId', p_booking.booking_id,
      'customerId', p_booking.customer_id,
      'therapistId', p_booking.therapist_user_id,
      'serviceId', p_booking.service_id,
      'serviceName', s.name,
      'therapistName', t.full_name,
      'appointmentDate', p_booking.appointment_date,
      'appointmentTime', p_booking.appointment_time,
      'durationMinutes', p_booking.duration_minutes,
      'bookingStatus', p_booking.booking_status,
      'bookingNotes', case when p_viewer <> 'receptionist' then p_booking.booking_notes end,
      'customerName', case when p_viewer <> 'customer' then c.full_name end,
      'customerPhone', case when p_viewer in ('receptionist', 'manager') then c.phone_number end,
      'paymentItemId', case when p_viewer <> 'therapist' then p_booking.payment_item_id end,
      'price', case when p_viewer <> 'therapist' then i.unit_price end
    ))
    from spa.services s
    cross join spa.users c
    cross join spa.users t
    cross join spa.payment_items i
    where s.service_id = p_booking.service_id and c.user_id = p_booking.customer_id
      and t.user_id = p_booking.therapist_user_id
      and i.payment_item_id = p_booking.payment_item_id
  );
end
$$;

create or replace function spa_push.status_change(
  p_booking spa.bookings,
  p_old_status text,
  p_new_status text
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select json_build_object(
      'bookingId', p_booking.booking_id,
      'customerId', p_booking.customer_id,
      'therapistId', p_booking.therapist_user_id,
      'oldStatus', p_old_status,
      'newStatus', p_new_status,
      'appointmentDate', p_booking.appointment_date,
      'appointmentTime', p_booking.appointment_time,
      'serviceName', (select s.name from spa.services s where s.service_id = p_booking.service_id)
    )
  );
end
$$;

-- Whether a booking in this status is still to come or under way.
create or replace function spa_push.is_live(p_status text) returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_status in ('SCHEDULED', 'CONFIRMED', 'IN_PROGRESS')
$$;

do $$
declare
  v_function regprocedure;
begin
  foreach v_function in array array[
    'spa_push.booking_as(text, spa.bookings)', 'spa_push.status_change(spa.bookings, text, text)',
    'spa_push.is_live(text)'
  ]::regprocedure[] loop
    execute format('alter function %s owner to rowcast_owner', v_function);
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to rowcast_owner', v_function);
  end loop;
end
$$;
