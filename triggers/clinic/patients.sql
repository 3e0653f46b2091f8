-- What patients tell: the queue anew to staff when somebody in it is renamed or has another number.

select rowcast.attach('clinic.patients', 'update', $$
  select
    'queue_refresh' as name,
    array['staff'] as rooms,
    '{}'::json as data,
    'queue' as channel,
    'clinic_push.queue_refresh' as render
  where exists (
    select from new_rows n
    join clinic.queue q on q.patient_id = n.patient_id and q.status in ('waiting', 'called')
    where not exists (
      select from old_rows o where o.patient_id = n.patient_id and o.name = n.name
        and o.phone is not distinct from n.phone
    )
  )
$$);

select rowcast.attach('clinic.patients', 'truncate', $$
  select
    'reset' as name,
    array['*'] as rooms,
    json_build_object('table', 'clinic.patients') as data
$$);
