-- The xid of a new subtransaction: above every xid that any transaction has had so far, whatever
-- the isolation level lets this one see. A row tells it, for no function does.

create or replace function rowcast.new_xid() returns xid8
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_own bigint := pg_current_xact_id()::text::bigint;
  v_new bigint;
begin
  -- This block is the subtransaction, for its exception clause.
  begin
    update rowcast.forgotten set truncation = truncation returning xmin::text::bigint into v_new;
  exception
    when division_by_zero then null;
  end;
  v_new := (v_own >> 32 << 32) + v_new;
  if v_new < v_own then
    v_new := v_new + (1::bigint << 32);
  end if;
  return v_new::text::xid8;
end
$$;
revoke all on function rowcast.new_xid() from public;
comment on function rowcast.new_xid() is 'An xid above every xid that was given out before.';
