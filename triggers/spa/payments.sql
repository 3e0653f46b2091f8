-- What payments tell: PAYMENT_COMPLETED to the customer, reception and managers, when a payment is
-- inserted that is paid, or becomes that, or was another customer's. Therapists hear nothing of
-- payments. The items are read when the event is: the application inserts them after their payment.
-- If it is another customer's by then, the event to the first says nothing.

create or replace function spa_push.payment_state(p_keys jsonb[])
returns table (key jsonb, data json)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select k.key, json_strip_nulls(json_build_object(
    'paymentId', p.payment_id,
    'customerId', p.customer_id,
    'totalAmount', p.total_amount,
    'paymentMethod', p.payment_method,
    'paymentDate', to_char(p.payment_date at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'customerName', case when k.key ->> 'viewer' <> 'customer' then c.full_name end,
    'referenceNumber', case when k.key ->> 'viewer' <> 'receptionist' then p.reference_number end,
    'items', (
      select coalesce(json_agg(json_build_object('paymentItemId', i.payment_item_id,
        'serviceId', i.service_id, 'serviceName', s.name, 'quantity', i.quantity,
        'unitPrice', i.unit_price, 'totalPrice', i.total_price,
        'serviceDuration', i.service_duration) order by i.payment_item_id), '[]')
      from spa.payment_items i
      join spa.services s on s.service_id = i.service_id
      where i.payment_id = p.payment_id
    )
  ))
  from unnest(p_keys) k (key)
  join spa.payments p on p.payment_id = (k.key ->> 'paymentId')::integer
    and p.customer_id = (k.key ->> 'customerId')::integer
  join spa.users c on c.user_id = p.customer_id
$$;
alter function spa_push.payment_state(jsonb[]) owner to rowcast_owner;
revoke all on function spa_push.payment_state(jsonb[]) from public;
grant execute on function spa_push.payment_state(jsonb[]) to rowcast_owner;
comment on function spa_push.payment_state(jsonb[]) is
  'Renders PAYMENT_COMPLETED; key {"paymentId","customerId","viewer"}.';

select rowcast.attach('spa.payments', 'insert', $$
  select
    'PAYMENT_COMPLETED' as name,
    v.rooms,
    json_build_object('paymentId', n.payment_id, 'customerId', n.customer_id,
      'viewer', v.viewer) as data,
    'spa_push.payment_state' as render
  from new_rows n
  cross join lateral spa_push.viewers(n.customer_id, null) v
  where n.payment_status = 'PAID'
$$);

select rowcast.attach('spa.payments', 'update', $$
  select
    'PAYMENT_COMPLETED' as name,
    v.rooms,
    json_build_object('paymentId', n.payment_id, 'customerId', n.customer_id,
      'viewer', v.viewer) as data,
    'spa_push.payment_state' as render
  from new_rows n
  cross join lateral spa_push.viewers(n.customer_id, null) v
  where n.payment_status = 'PAID' and not exists (
    select from old_rows o
    where o.payment_id = n.payment_id and o.customer_id = n.customer_id
      and o.payment_status = 'PAID'
  )
$$);

select rowcast.attach('spa.payments', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'spa.payments') as data
$$);
