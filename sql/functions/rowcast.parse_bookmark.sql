-- HISTORY.SNAPSHOT              a place between two batches
-- HISTORY.SNAPSHOT.ID           the same, reached with event ID
-- HISTORY.SNAPSHOT.SNAPSHOT.ID  within a batch: all of the first, of the second up to ID

create or replace function rowcast.parse_bookmark(
  p_bookmark text,
  out history text,
  out base pg_snapshot,
  out batch pg_snapshot,
  out id bigint
)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[] := string_to_array(p_bookmark, '.');
begin
  if p_bookmark is null or length(p_bookmark) > 2048
    or p_bookmark !~ '^[0-9a-z]{1,16}([.][0-9]{1,18}(_[0-9]{1,18})+){1,2}([.][0-9]{1,18})?$'
    or (p_bookmark ~ '_[0-9]+[.][0-9]+_' and p_bookmark !~ '[.][0-9]+$') then
    raise exception using errcode = 'RC001', message = 'this is not a bookmark',
      hint = 'Pass a bookmark as it was received, unchanged, or none at all.';
  end if;
  history := v_parts[1];
  base := rowcast.decode_snapshot(v_parts[2]);
  if cardinality(v_parts) = 4 then
    batch := rowcast.decode_snapshot(v_parts[3]);
    id := v_parts[4]::bigint;
  end if;
exception
  when data_exception then
    raise exception using errcode = 'RC001', message = 'this is not a bookmark',
      hint = 'Pass a bookmark as it was received, unchanged, or none at all.';
end
$$;
-- The service had it once.
revoke all on function rowcast.parse_bookmark(text) from public, rowcast_service;
comment on function rowcast.parse_bookmark(text) is
  'Takes a bookmark apart; SQLSTATE RC001 if it is none.';
