-- What announcements tell: system:announcement to everybody who is connected (room *) for each one
-- inserted. expiresAt is in UTC, whatever the time zone of the session that writes; without an end
-- it is null.

select rowcast.attach('lab.announcements', 'insert', $$
  select
    'system:announcement' as name,
    array['*'] as rooms,
    json_build_object('message', n.message, 'severity', n.severity, 'expiresAt',
      case when isfinite(n.expires_at) then
        to_char(n.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
      end) as data
  from new_rows n
$$);

select rowcast.attach('lab.announcements', 'truncate', $$
  select
    'reset' as name,
    array['*'] as rooms,
    json_build_object('table', 'lab.announcements') as data
$$);
