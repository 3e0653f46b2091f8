-- What a publication FOR ALL TABLES and pg_upgrade ask of every table of the database.

-- With such a publication PostgreSQL refuses to update and to delete rows that nothing identifies.
-- These have one row, or are only ever inserted into, but for a new history: it costs no writer.
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'setting', 'forgotten', 'history_mark', 'history_break',
    'event_0', 'event_1', 'event_2', 'event_3', 'event_4', 'event_5'
  ] loop
    execute format('alter table rowcast.%I replica identity full', v_table);
  end loop;
end
$$;
