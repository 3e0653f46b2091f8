-- A history's name, with which its bookmarks begin, is drawn once. It was computed at every look with md5(),
-- which PostgreSQL refuses where its OpenSSL is in FIPS mode.

alter table rowcast.history_mark add column name text not null
  default left(replace(gen_random_uuid()::text, '-', ''), 10);
comment on column rowcast.history_mark.name is 'What its bookmarks begin with.';

-- What bookmarks of the current history begin with already. Where md5() is refused, as on a server that was
-- copied to such a host, they are answered with a gap, as all were since.
do $$
begin
  update rowcast.history_mark
  set name = left(md5(concat_ws('/', nonce, database_oid, log_oid)), 10);
exception
  when internal_error then null;
end
$$;
