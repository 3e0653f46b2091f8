-- Whether the leaf that is written now should be left: a fifth of keep_bytes with indexes and
-- TOAST, or three quarters of its ids, so that writers hardly ever come to the next by themselves.

create or replace function rowcast.leaf_is_full(p_last bigint, p_share bigint) returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select p_last & 1048575 >= 786432
    or pg_total_relation_size(format('rowcast.event_%s', (p_last >> 20) % 6)) > p_share
$$;
revoke all on function rowcast.leaf_is_full(bigint, bigint) from public;
comment on function rowcast.leaf_is_full(bigint, bigint) is
  'Whether the leaf of this id has its share of bytes, or nearly all of its ids.';
