-- The one table whose rows are the events of all servers, and what an event holds.
create schema bench;
create table bench.event (n bigint not null, room text not null, padding text not null);

-- 300 bytes; the time is taken while the statement runs, so that its commit is waited for, too.
create function bench.payload(p_n bigint, p_padding text) returns json language sql volatile
  as $$ select format('{"n":%s,"t":%s,"padding":"%s"}', p_n, extract(epoch from clock_timestamp()), p_padding)::json $$;
