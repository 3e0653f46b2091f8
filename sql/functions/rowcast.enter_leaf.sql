-- Notes that from now on this turn's leaf is written, and the one before no longer.

create or replace function rowcast.enter_leaf(p_turn bigint) returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  update rowcast.leaf set left_at = clock_timestamp()
  where leaf <> p_turn % 6 and turn is not null and left_at is null;
  update rowcast.leaf
  set turn = p_turn, entered_at = clock_timestamp(), left_at = null, refused_at = null
  where leaf = p_turn % 6;
$$;
revoke all on function rowcast.enter_leaf(bigint) from public;
comment on function rowcast.enter_leaf(bigint) is 'Notes that this turn''s leaf is written now.';
