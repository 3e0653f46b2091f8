-- Says that a listed function is gone. Whoever asks a rule looks its function up each time, for a
-- deploy may have dropped it and created another of the same signature, and comes here where there
-- is none.
-- By its first words src/report.rs tells a room rule that is gone from one that a client's word
-- made fail.

create or replace function rowcast.no_function(p_signature text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'RC006',
    message = format('there is no function %s: create it, or delete the row that names it',
      p_signature);
end
$$;
revoke all on function rowcast.no_function(text) from public;
comment on function rowcast.no_function(text) is
  'Instead of the name of a function that is listed and was dropped; SQLSTATE RC006.';
