-- What the service may touch besides calling functions.

grant select on rowcast.channel to rowcast_service;
grant select on rowcast.failure to rowcast_service;
grant select on rowcast.setting to rowcast_service;
-- The leading listener sets the flag as a statement of its own; within a function, its snapshot
-- would come too early.
grant select, update on sequence rowcast.doorbell to rowcast_service;
-- Which users to send away.
grant select on rowcast.revocation to rowcast_service;
