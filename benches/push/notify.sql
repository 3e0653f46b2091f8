-- The others' part: what people write by hand, a row trigger that notifies.
create function bench.tell() returns trigger language plpgsql as $$
begin
  perform pg_notify('bench',
    format('{"room":"%s",%s', new.room, substr(bench.payload(new.n, new.padding)::text, 2)));
  return null;
end $$;
create trigger tell after insert on bench.event for each row execute function bench.tell();
