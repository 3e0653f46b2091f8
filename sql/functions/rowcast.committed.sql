-- The log for whoever knows which transaction he asks for: a listener that heard it ring. Without
-- any function it takes less than half the time of a look (rowcast.look), and where an event takes
-- as long to be found as to be committed, that counts. `written` is the row's own xmin: a
-- subtransaction's, where the row was written inside an EXCEPTION block.

create or replace view rowcast.committed as
select
  e.xid, e.id, e.at, e.channel::text, e.name::text, e.rooms::text[], e.data::json,
  false as failed, e.render, e.xmin as written
from rowcast.log e;

revoke all on rowcast.committed from public;
grant select on rowcast.committed to rowcast_service;
-- Whoever asks by transaction has to ask as well whether some of it was forgotten.
grant select on sequence rowcast.horizon to rowcast_service;
comment on view rowcast.committed is 'The log, to be asked for the events of one transaction.';
