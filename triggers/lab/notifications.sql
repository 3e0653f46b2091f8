-- What notifications tell: notification:new for each one inserted. Reading one tells nothing.

select rowcast.attach('lab.notifications', 'insert', $$
  select
    'notification:new' as name,
    array['user:' || n.user_id] as rooms,
    json_build_object('notificationId', n.notification_id, 'type', n.type, 'message', n.message,
      'read', n.read) as data
  from new_rows n
$$);

select rowcast.attach('lab.notifications', 'truncate', $$
  select
    'reset' as name,
    array['*'] as rooms,
    json_build_object('table', 'lab.notifications') as data
$$);
