-- What payments tell: payment:completed, payment:failed and payment:refunded, when a payment
-- becomes that. Nobody is told of one that is pending.

select rowcast.attach('lab.payments', 'insert', $$
  select
    'payment:' || n.status as name,
    array['user:' || n.user_id, 'admin:all'] as rooms,
    json_build_object('paymentId', n.payment_id, 'bookingId', n.booking_id, 'userId', n.user_id,
      'amount', n.amount, 'currency', n.currency, 'status', n.status) as data
  from new_rows n
  where n.status in ('completed', 'failed', 'refunded')
$$);

select rowcast.attach('lab.payments', 'update', $$
  select
    'payment:' || n.status as name,
    array['user:' || n.user_id, 'admin:all'] as rooms,
    json_build_object('paymentId', n.payment_id, 'bookingId', n.booking_id, 'userId', n.user_id,
      'amount', n.amount, 'currency', n.currency, 'status', n.status) as data
  from new_rows n
  where n.status in ('completed', 'failed', 'refunded') and not exists (
    select from old_rows o where o.payment_id = n.payment_id and o.status = n.status
  )
$$);

select rowcast.attach('lab.payments', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.payments') as data
$$);
