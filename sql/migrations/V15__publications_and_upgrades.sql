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

-- pg_upgrade refuses a whole cluster for one column of type regprocedure, which holds an oid: that also
-- outlived a function that was dropped and created again. Signatures as text, with every name
-- qualified, as rowcast.check_rule and rowcast.check_callable write them. What was dropped before has
-- no name any more: 123().
do $$
declare
  v_column record;
begin
  perform set_config('search_path', 'pg_catalog, pg_temp', true);
  for v_column in
    values ('room_rule', 'may_join'), ('home_rule', 'rooms_of'), ('session_rule', 'claims_of'),
      ('callable', 'function'), ('callable', 'may_call')
  loop
    execute format(
      'alter table rowcast.%1$I alter column %2$I type text using '
      'case when %2$I::text ~ ''^[0-9]+$'' then %2$I::text || ''()'' else %2$I::text end',
      v_column.column1, v_column.column2
    );
  end loop;
end
$$;
