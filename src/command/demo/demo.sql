-- What the demos of all systems have: schema demo, and in it what a visitor may run, by number.
-- A system's own file adds its sample data, its statements, and the functions that the page calls as the
-- system's application: demo.state() returns json (what the page shows when it is loaded, and by the
-- same statement its bookmark), demo.writer_step() (a modest writer) and demo.sign_in(view) returns
-- jsonb (a view's claims, or what its session cookie holds).

create schema if not exists demo;
grant usage on schema demo to public;

create table if not exists demo.statement (
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
