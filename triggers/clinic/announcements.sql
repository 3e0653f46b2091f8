-- What announcements tell: system_announcement to all patients for each one inserted.

select rowcast.attach('clinic.announcements', 'insert', $$
  select
    'system_announcement' as name,
    array['patients'] as rooms,
    json_build_object('type', 'system_announcement', 'message', n.message,
      'timestamp', clinic_push.iso(n.created_at)) as data
  from new_rows n
$$);

select rowcast.attach('clinic.announcements', 'truncate', $$
  select
    'reset' as name,
    array['*'] as rooms,
    json_build_object('table', 'clinic.announcements') as data
$$);
