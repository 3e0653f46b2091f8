-- What labs tell: lab:status-changed when the status or its reason changes. A lab that was given
-- another number tells its status under the new one.

select rowcast.attach('lab.labs', 'update', $$
  select
    'lab:status-changed' as name,
    array['lab:' || n.lab_id, 'admin:org:' || n.org_id] as rooms,
    json_build_object('labId', n.lab_id, 'status', n.status, 'reason', n.status_reason) as data
  from new_rows n
  where not exists (
    select from old_rows o
    where o.lab_id = n.lab_id and o.status = n.status
      and o.status_reason is not distinct from n.status_reason
  )
$$);

select rowcast.attach('lab.labs', 'truncate', $$
  select 'reset' as name, array['*'] as rooms, json_build_object('table', 'lab.labs') as data
$$);
