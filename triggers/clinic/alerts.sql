-- What alerts tell: system_alert to all staff for each one inserted.

select rowcast.attach('clinic.alerts', 'insert', $$
  select
    'system_alert' as name,
    array['staff'] as rooms,
    json_build_object('type', 'system_alert', 'message', n.message, 'severity', n.severity,
      'timestamp', clinic_push.iso(n.created_at)) as data
  from new_rows n
$$);

select rowcast.attach('clinic.alerts', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'clinic.alerts') as data
$$);
