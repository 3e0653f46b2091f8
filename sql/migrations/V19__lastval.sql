-- A sequence for rowcast.keep_lastval: its number means nothing, each session has its own idea of it.
-- Not logged where PostgreSQL can (from 15 on): it is set by every statement that keeps lastval().

create sequence rowcast.lastval as bigint minvalue -9223372036854775808 start 1 cycle;
do $$
begin
  if current_setting('server_version_num')::integer >= 150000 then
    execute 'alter sequence rowcast.lastval set unlogged';
  end if;
end
$$;
grant select on rowcast.lastval to public;
comment on sequence rowcast.lastval is
  'What rowcast.keep_lastval makes lastval() speak of; whoever calls that has to be allowed to read it.';
