-- What the demos of all systems have: schema demo, and in it what a visitor may run, by number. Run once,
-- in an empty database that the systems' are copies of.
--
-- A system's own NAME.sql adds its sample data, its statements, and three functions, which are called as
-- the system's application NAME_app. They do what an old application would do: all they know of rowcast is
-- the bookmark.
--   demo.state() returns json         what the page shows when it is loaded, and by the same statement
--                                     the bookmark that belongs to it
--   demo.sign_in(view)                what the login makes: the claims of a JWT (jsonb), or a new session's
--                                     cookie (text); null for a view that does not exist
--   demo.writer_step() returns void   at most one modest random write

alter role rowcast_service login;

create schema demo;
grant usage on schema demo to public;

create table demo.statement (
  number integer not null,
  title text not null,
  sql text not null,
  constraint statement_pkey primary key (number)
);
grant select on demo.statement to public;

create or replace function demo.statements() returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(json_agg(json_build_object('number', t.number, 'title', t.title, 'sql', t.sql)
    order by t.number), '[]')
  from demo.statement t
$$;
