-- What a strict trigger does when its events can't be written: the error goes to the application as
-- it is, with its SQLSTATE and message, and says besides whose it is and what a DBA can do: with
-- the table that is attached, which the one that was written may be a partition of.

create or replace function rowcast.refuse_write(
  p_relation text,
  p_operation text,
  p_sqlstate text,
  p_message text,
  p_detail text,
  p_hint text,
  p_context text
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  -- By its name alone: rowcast_owner may not look into the schema.
  v_root constant text := coalesce((
    select min(a.relation::text)
    from rowcast.attached a cross join lateral rowcast.tables_below(a.relation) b
    where a.operation = p_operation and b.relation::regclass::text = p_relation
  ), p_relation);
begin
  raise exception using
    errcode = p_sqlstate,
    message = p_message,
    detail = concat_ws(
      e'\n',
      nullif(p_detail, ''),
      format(
        'rowcast could not write the events of %s on %s, and its trigger is strict.',
        p_operation, p_relation
      ),
      p_context
    ),
    hint = concat_ws(
      e'\n',
      nullif(p_hint, ''),
      format(
        'Attached as lossy it lets the write go; rowcast.detach(%L, %L) takes the trigger away.',
        v_root, p_operation
      )
    );
end
$$;
revoke all on function rowcast.refuse_write(text, text, text, text, text, text, text) from public;
comment on function rowcast.refuse_write(text, text, text, text, text, text, text) is
  'Raises the error of a strict trigger, with where it comes from.';
