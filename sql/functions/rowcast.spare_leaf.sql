-- The next empty leaf: how many leaves ahead of this turn, or null. One without a block is empty,
-- whatever a snapshot says.

create or replace function rowcast.spare_leaf(p_turn bigint) returns integer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select min(ahead) from generate_series(1, 5) ahead
  where pg_relation_size(format('rowcast.event_%s', (p_turn + ahead) % 6)) = 0
$$;
revoke all on function rowcast.spare_leaf(bigint) from public;
comment on function rowcast.spare_leaf(bigint) is 'How far ahead the next empty leaf is, or null.';
