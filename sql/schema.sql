-- The schema that `rowcast migrate` makes, as pg_dump 15 tells it. Generated: change
-- sql/migrations and sql/functions, then run `UPDATE=1 cargo test golden_schema`.

CREATE SCHEMA rowcast;

ALTER SCHEMA rowcast OWNER TO rowcast_owner;

COMMENT ON SCHEMA rowcast IS 'Rowcast: the event log, its doorbell, and the rules of who may hear what.';

CREATE TYPE rowcast.concern AS (
	channel text,
	room text
);

ALTER TYPE rowcast.concern OWNER TO rowcast_owner;

COMMENT ON TYPE rowcast.concern IS 'A room that a statement had something to tell to, on a channel.';

CREATE DOMAIN rowcast.name AS text
	CONSTRAINT name_has_no_control_characters CHECK ((VALUE !~
CASE
    WHEN (getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'::text) THEN '[[:cntrl:]]'::text
    ELSE '(?=[[:ascii:]])[[:cntrl:]]'::text
END))
	CONSTRAINT name_is_bounded CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 200)));

ALTER DOMAIN rowcast.name OWNER TO rowcast_owner;

COMMENT ON DOMAIN rowcast.name IS 'Name of an event or a channel: 1 to 200 bytes, no control characters.';

CREATE DOMAIN rowcast.payload AS json
	CONSTRAINT payload_is_bounded CHECK ((octet_length((VALUE)::text) <= 1048576));

ALTER DOMAIN rowcast.payload OWNER TO rowcast_owner;

COMMENT ON DOMAIN rowcast.payload IS 'What the browser gets as data: at most 1 MiB of JSON text.';

CREATE DOMAIN rowcast.rooms AS text[]
	CONSTRAINT rooms_are_bounded CHECK ((octet_length(array_to_string(VALUE, ''::text)) <= 65536))
	CONSTRAINT rooms_are_named CHECK (((cardinality(VALUE) > 0) AND (array_position(VALUE, NULL::text) IS NULL)))
	CONSTRAINT rooms_have_no_control_characters CHECK ((array_to_string(VALUE, ''::text) !~
CASE
    WHEN (getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'::text) THEN '[[:cntrl:]]'::text
    ELSE '(?=[[:ascii:]])[[:cntrl:]]'::text
END));

ALTER DOMAIN rowcast.rooms OWNER TO rowcast_owner;

COMMENT ON DOMAIN rowcast.rooms IS 'The rooms of one event: at least one, together at most 65,536 bytes, no control characters.';

CREATE TYPE rowcast.emission AS (
	channel rowcast.name,
	name rowcast.name,
	rooms rowcast.rooms,
	data rowcast.payload,
	render text
);

ALTER TYPE rowcast.emission OWNER TO rowcast_owner;

COMMENT ON TYPE rowcast.emission IS 'An event as an attached query computes it, before it has an id.';

CREATE FUNCTION rowcast.access(p_asked jsonb, p_leeway bigint DEFAULT 0) RETURNS TABLE(version bigint, claims text, revoked boolean, home text[], allowed text[], failed text, refusing text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_asked jsonb;
  v_claims jsonb;
  v_other text[];
begin
  select s.access_version into version from rowcast.setting s;
  for v_asked in
    select value from jsonb_array_elements(p_asked) with ordinality order by ordinality
  loop
    home := '{}';
    allowed := '{}';
    failed := null;
    refusing := null;
    claims := null;
    revoked := false;
    -- A rule that fails for one must not keep the others from their answer.
    begin
      if jsonb_typeof(v_asked -> 'session') in ('object', 'array') then
        v_claims := rowcast.session_claims(rowcast.sent(v_asked -> 'session')::jsonb);
      else
        v_claims := rowcast.sent(v_asked -> 'claims')::jsonb;
      end if;
      claims := v_claims::text;
      revoked := rowcast.is_revoked(v_claims, p_leeway, (v_asked ->> 'version')::bigint);
      if v_claims is not null and not revoked and v_asked ->> 'rooms' is not null then
        home := rowcast.home_rooms(v_claims);
        v_other := array(
          select s.room
          from jsonb_array_elements(v_asked -> 'rooms') r
          cross join lateral rowcast.sent(r) s (room)
          where s.room <> all (home)
        );
        select coalesce(array_agg(a.room) filter (where a.allowed), '{}'), min(a.failed)
        into allowed, refusing
        from rowcast.admit(v_claims, v_other) a;
      end if;
    exception
      when others or assert_failure then
        failed := sqlerrm;
    end;
    return next;
  end loop;
  perform rowcast.check_rewrites();
end
$$;

ALTER FUNCTION rowcast.access(p_asked jsonb, p_leeway bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.access(p_asked jsonb, p_leeway bigint) IS 'For each element, its claims, whether they are revoked, home rooms, and which rooms are allowed.';

CREATE FUNCTION rowcast.access_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_version bigint;
begin
  if tg_table_name <> 'revocation' then
    perform rowcast.recheck();
    return null;
  end if;
  update rowcast.setting set access_version = access_version + 1
  returning access_version into v_version;
  -- A restore that loads revocations before the settings, as pg_dump sorts them: each comes as it
  -- was.
  if not found then
    return null;
  end if;
  -- Neither column fires this trigger again.
  update rowcast.revocation set at = clock_timestamp(), version = v_version where sub = new.sub;
  return null;
end
$$;

ALTER FUNCTION rowcast.access_changed() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.access_changed() IS 'Counts a change of rules or a revocation, at the end of its transaction.';

CREATE FUNCTION rowcast.acknowledge(p_acks jsonb, p_pause interval) RETURNS TABLE(place bigint, bookmark text, wait_ms bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_keep interval := (select reader_keep from rowcast.setting);
  v_history text := rowcast.history();
  v_ack record;
  v_reader rowcast.reader;
  v_moves boolean;
begin
  for v_ack in
    select a.ordinality, e.*
    from jsonb_array_elements(p_acks) with ordinality a
    cross join jsonb_to_record(a.value) as j (sub jsonb, name jsonb, bookmark text, after text)
    cross join lateral (
      select rowcast.sent(j.sub) as sub, rowcast.sent(j.name) as name, j.bookmark, j.after
    ) e
    order by e.sub, e.name
  loop
    select * into v_reader
    from rowcast.reader r
    where r.sub = v_ack.sub and r.name = v_ack.name and r.at >= clock_timestamp() - v_keep
    for update;
    place := v_ack.ordinality;
    bookmark := v_reader.bookmark;
    wait_ms := 0;
    if v_reader.sub is not null then
      v_moves := rowcast.is_within(bookmark, v_ack.bookmark)
        or split_part(bookmark, '.', 1) <> v_history
          and split_part(v_ack.bookmark, '.', 1) = v_history;
      if v_ack.after is not null then
        v_moves := v_moves and rowcast.is_within(v_ack.after, bookmark);
      end if;
      if v_moves and bookmark <> v_ack.bookmark then
        -- A clock that was set back must not hold anybody up.
        if v_reader.at <= clock_timestamp() then
          wait_ms := greatest(0, ceil(extract(epoch from
            v_reader.at + p_pause - clock_timestamp()) * 1000));
        end if;
        if wait_ms = 0 then
          update rowcast.reader r set bookmark = v_ack.bookmark, at = clock_timestamp()
          where r.sub = v_ack.sub and r.name = v_ack.name;
          bookmark := v_ack.bookmark;
        end if;
      end if;
    end if;
    return next;
  end loop;
end
$$;

ALTER FUNCTION rowcast.acknowledge(p_acks jsonb, p_pause interval) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.acknowledge(p_acks jsonb, p_pause interval) IS 'Moves durable readers on: where each stands then, and how long to wait before it may be written.';

CREATE FUNCTION rowcast.admit(p_claims jsonb, p_rooms text[]) RETURNS TABLE(room text, allowed boolean, failed text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  v_rule text;
begin
  perform rowcast.check_owner();
  perform set_config('request.jwt.claims', p_claims::text, true);
  foreach room in array p_rooms loop
    select r.may_join into v_rule
    from rowcast.room_rule r
    where r.pattern = room
      or (right(r.pattern, 1) = '*' and starts_with(room, left(r.pattern, -1)))
    -- A literal is longer than any prefix of it.
    order by r.pattern = room desc, length(r.pattern) desc
    limit 1;
    allowed := false;
    failed := null;
    if room = '*' then
      allowed := true;
    elsif v_rule is not null then
      -- A name is a client's word: a rule that can't stand it must not fail for the other rooms.
      begin
        execute format('select %s($1, $2)', coalesce(
          to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
        )) into allowed using p_claims, room;
      exception
        when others or assert_failure then
          perform rowcast.check_any_rewrite();
          failed := rowcast.rule_failed('room', v_rule, sqlstate, sqlerrm) || '; it says no';
          allowed := false;
      end;
    end if;
    allowed := coalesce(allowed, false);
    return next;
  end loop;
end
$_$;

ALTER FUNCTION rowcast.admit(p_claims jsonb, p_rooms text[]) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.admit(p_claims jsonb, p_rooms text[]) IS 'For each room, whether these claims may join it, and what its rule failed with.';

CREATE FUNCTION rowcast.attach(p_table regclass, p_operation text, p_query text, p_mode text DEFAULT 'lossy'::text, p_reset_above integer DEFAULT 10000) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $_$
declare
  v_columns text[];
  v_channel text;
  v_function text;
  v_source text;
  v_other regclass;
  v_child regclass;
begin
  perform rowcast.check_operation(p_operation);
  if p_mode is null or p_mode not in ('lossy', 'strict') then
    raise exception using errcode = 'RC003',
      message = format('there is no mode %L', p_mode),
      hint = 'lossy: an error loses the events and tells a gap. strict: it aborts the write.';
  end if;
  if p_reset_above < 0 then
    raise exception using errcode = 'RC003',
      message = format('%s is no number of events', p_reset_above),
      hint = 'reset_above: a statement with more events tells one reset per room; null: never.';
  end if;
  perform rowcast.check_table(p_table, p_operation);
  if p_query ~ '[$](body|query)[$]' then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s contains $body$ or $query$', p_operation, p_table),
      hint = 'They are the quotes of the function round it: use others.';
  end if;
  select a.relation into v_other
  from rowcast.attached a
  where a.operation = p_operation and a.relation <> p_table
    and (rowcast.is_below(a.relation, p_table) or rowcast.is_below(p_table, a.relation));
  if v_other is not null then
    raise exception using errcode = 'RC003',
      message = format('%s is attached for %s already, and one hangs below the other: %s',
        v_other, p_operation, p_table),
      hint = 'Attach to the parent only: its partitions and children are attached with it.';
  end if;
  -- It has one trigger for an operation: the second attachment would take it from the first. Where
  -- two of them meet, there is a table with a second parent; partitions, which may be thousands,
  -- have one.
  select i.inhrelid, a.relation into v_child, v_other
  from pg_inherits i
  join rowcast.attached a on a.operation = p_operation and a.relation <> p_table
  where i.inhseqno > 1
    and rowcast.is_below(i.inhrelid, p_table) and rowcast.is_below(i.inhrelid, a.relation)
  limit 1;
  if v_other is not null then
    raise exception using errcode = 'RC003',
      message = format('%s hangs below %s and below %s, which is attached for %s already',
        v_child, p_table, v_other, p_operation),
      hint = 'A table can tell of its rows for one parent only: attach to the children instead, or '
        'take it out of one of the two (alter table ... no inherit).';
  end if;

  v_columns := rowcast.check_query(p_table, p_operation, p_query);
  select relname into v_channel from pg_class where oid = p_table;
  if rowcast.has_control(v_channel) or p_table::text ~ '[$](body|query)[$]' then
    raise exception using errcode = 'RC003',
      message = format('the name of %s has control characters, $body$ or $query$', p_table),
      hint = 'Rename it: its channel is called like it, and the trigger''s function names it.';
  end if;
  v_function := rowcast.trigger_function_name(p_table, p_operation);
  v_source := rowcast.trigger_source(
    p_table, p_operation, p_query, p_mode, p_reset_above, v_columns, v_channel,
    v_function
  );
  -- First, for its row is a lock as well: of two that make one function at once, the second would
  -- fail.
  insert into rowcast.attached as a (relation, operation, mode, query, function_name, reset_above)
  values (p_table, p_operation, p_mode, p_query, v_function, p_reset_above)
  on conflict on constraint attached_pkey
  do update set mode = excluded.mode, query = excluded.query,
    function_name = excluded.function_name, reset_above = excluded.reset_above
  where (a.mode, a.query, a.function_name, a.reset_above) is distinct from
    (excluded.mode, excluded.query, excluded.function_name, excluded.reset_above);
  -- The same again is left alone: replacing a function costs every session its plans.
  if not exists (
    select from pg_proc
    where oid = to_regprocedure(v_function || '()') and prosecdef
      and proowner = 'rowcast_owner'::regrole and prosrc = split_part(v_source, '$body$', 2)
  ) then
    execute v_source;
  end if;
  perform rowcast.secure_function(v_function);
  perform rowcast.set_triggers(p_table, p_operation, v_function);
end
$_$;

ALTER FUNCTION rowcast.attach(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.attach(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer) IS 'Attaches a query that turns changed rows into events; again replaces it. SQLSTATE RC003, RC004.';

CREATE FUNCTION rowcast.begin_call(p_name text, p_claims jsonb, p_leeway bigint, p_version bigint, p_timeout_ms bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_callable rowcast.callable;
  v_verdict text := 'ok';
  v_allowed boolean := true;
begin
  perform rowcast.check_owner();
  select * into v_callable from rowcast.callable where name = p_name;
  if v_callable.writes then
    -- At once: what begins between the snapshot and this has to be spelled out in the bookmark.
    perform pg_current_xact_id();
  else
    perform set_config('transaction_read_only', 'on', true);
  end if;
  perform set_config('request.jwt.claims', p_claims::text, true);
  if rowcast.is_revoked(p_claims, p_leeway, p_version) then
    v_verdict := 'revoked';
  elsif v_callable.name is null then
    v_verdict := 'not listed';
  elsif to_regprocedure(v_callable.function) is null then
    v_verdict := 'listed, but dropped';
  elsif v_callable.may_call is not null then
    begin
      execute format('select %s($1, $2)', coalesce(
        to_regprocedure(v_callable.may_call)::oid::regproc::text,
        rowcast.no_function(v_callable.may_call)
      )) into v_allowed using p_claims, p_name;
    exception
      when others or assert_failure then
        perform rowcast.check_any_rewrite();
        v_verdict := rowcast.rule_failed('may_call', v_callable.may_call, sqlstate, sqlerrm)
          || '; it says no';
    end;
    if v_verdict = 'ok' and not coalesce(v_allowed, false) then
      v_verdict := 'forbidden';
    end if;
    perform rowcast.check_rewrites();
  end if;
  perform set_config('rowcast.call', case when v_verdict = 'ok' then p_name else '' end, true);
  perform set_config('statement_timeout', ceil(least(
    extract(epoch from v_callable.timeout) * 1000, p_timeout_ms))::bigint::text, true);
  return v_verdict;
end
$_$;

ALTER FUNCTION rowcast.begin_call(p_name text, p_claims jsonb, p_leeway bigint, p_version bigint, p_timeout_ms bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.begin_call(p_name text, p_claims jsonb, p_leeway bigint, p_version bigint, p_timeout_ms bigint) IS 'Prepares a transaction for rowcast.call: ok, revoked, or why there is no such function.';

CREATE FUNCTION rowcast.bookmark() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select rowcast.history() || '.' || rowcast.encode_snapshot(
    case
      -- A standby's snapshot does not list what is in progress.
      when pg_is_in_recovery() then format('%s:%s:', pg_snapshot_xmin(s), pg_snapshot_xmin(s))
      else format(
        '%s:%s:%s',
        pg_snapshot_xmin(s),
        pg_snapshot_xmax(s),
        (
          select string_agg(x::text, ',' order by x)
          from (
            select x from pg_snapshot_xip(s) x
            union
            select own where own < pg_snapshot_xmax(s)
          ) r
        )
      )
    end::pg_snapshot
  )
  from (select pg_current_snapshot() as s, pg_current_xact_id_if_assigned() as own) now
$$;

ALTER FUNCTION rowcast.bookmark() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.bookmark() IS 'The place from which a browser resumes exactly, when printed beside data of the same snapshot.';

CREATE FUNCTION rowcast.bookmark_with_own() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select rowcast.history() || '.' || rowcast.encode_snapshot(
    format(
      '%s:%s:%s',
      pg_snapshot_xmin(s),
      greatest(pg_snapshot_xmax(s)::text::bigint, own + 1),
      (
        select string_agg(x::text, ',' order by x)
        from (
          select x::text::bigint from pg_snapshot_xip(s) x
          union
          select generate_series(pg_snapshot_xmax(s)::text::bigint, own - 1)
        ) r (x)
      )
    )::pg_snapshot
  )
  from (
    select pg_current_snapshot() as s, pg_current_xact_id_if_assigned()::text::bigint as own
  ) now
$$;

ALTER FUNCTION rowcast.bookmark_with_own() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.bookmark_with_own() IS 'The place after this transaction: its snapshot and its own changes, and nothing else.';

CREATE FUNCTION rowcast.bound_log() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
  v_last bigint := pg_sequence_last_value('rowcast.event_id_seq'::regclass);
  v_share bigint;
begin
  perform setval('rowcast.bound', v_last + 4096);
  select keep_bytes / 5 into v_share from rowcast.setting;
  if rowcast.is_led() then
    v_share := v_share * 2;
    if not rowcast.leaf_is_full(v_last & ~1048575, v_share) then
      return;
    end if;
  end if;
  -- Elsewhere who deletes the same as another fails.
  if current_setting('transaction_isolation') = 'read committed' then
    perform rowcast.forget_failures();
  end if;
  if rowcast.leaf_is_full(v_last, v_share) or rowcast.spare_leaf(v_last >> 20) is null then
    set constraints rowcast._900_rowcast_settle deferred;
    insert into rowcast.overdue values (pg_current_xact_id()) on conflict do nothing;
  end if;
exception
  when others then
    perform rowcast.warn(format(
      'rowcast: the log could not be bounded: %s (%s)', sqlerrm, sqlstate
    ));
end
$$;

ALTER FUNCTION rowcast.bound_log() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.bound_log() IS 'Has the writer rotate the log when it commits, where no service does.';

CREATE FUNCTION rowcast.call(p_args text, p_max_bytes bigint) RETURNS TABLE(problem text, data text, bookmark text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  v_callable rowcast.callable;
  v_oid regprocedure;
  v_function pg_proc;
  v_fitted record;
  v_query text;
  v_item text;
  v_items text[] := '{}';
  v_bytes bigint := 0;
begin
  perform rowcast.check_owner();
  select * into v_callable from rowcast.callable c
  where c.name = nullif(current_setting('rowcast.call', true), '');
  if v_callable.name is null then
    return;
  end if;
  v_oid := to_regprocedure(v_callable.function);
  v_fitted := rowcast.fit_arguments(v_oid, p_args);
  if v_fitted.problem is not null then
    problem := v_fitted.problem;
    return next;
    return;
  end if;

  select * into v_function from pg_proc where oid = v_oid;
  v_query := format(
    case
      when v_function.prorettype = 'void'::regtype
        then 'select null from %1$s cross join lateral %2$s as r'
      -- Named columns make objects, even a single one; a composite that is null is none.
      when v_function.proargmodes && '{o,b,t}'::"char"[] or (v_function.proretset and exists (
        select from pg_type t where t.oid = v_function.prorettype and t.typtype = 'c'
      )) then 'select to_json(r) from (select f.* from %1$s cross join lateral %2$s as f) r'
      when v_function.proretset
        then 'select to_json(r.value) from %1$s cross join lateral %2$s as r (value)'
      else 'select to_json(%2$s) from %1$s'
    end,
    v_fitted.source, v_fitted.call
  );
  begin
    for v_item in execute v_query using p_args loop
      v_items := v_items || coalesce(v_item, 'null');
      v_bytes := v_bytes + coalesce(octet_length(v_item), 4) + 1;
      if v_bytes > least(v_callable.max_bytes, p_max_bytes) + 1
        or (v_function.proretset and cardinality(v_items) > v_callable.max_rows) then
        raise exception using errcode = 'RC008',
          message = format('the answer of %s is larger than it may be', v_callable.name),
          hint = 'See max_rows and max_bytes in rowcast.callable, and the service''s '
            'calls.result_bytes.';
      end if;
    end loop;
  exception
    when others or assert_failure then
      perform rowcast.check_any_rewrite();
      raise;
  end;
  perform rowcast.check_rewrites();

  data := case
    when v_function.proretset then '[' || array_to_string(v_items, ',') || ']'
    else coalesce(v_items[1], 'null')
  end;
  bookmark := case
    when v_callable.writes then rowcast.bookmark_with_own() else rowcast.bookmark()
  end;
  return next;
end
$_$;

ALTER FUNCTION rowcast.call(p_args text, p_max_bytes bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.call(p_args text, p_max_bytes bigint) IS 'Calls what rowcast.begin_call has let in; its answer as JSON, and the bookmark of its snapshot.';

CREATE FUNCTION rowcast.check_any_rewrite() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'on'
    AS $$
begin
  if exists (
    select from pg_class c
    where c.xmax <> '0'
      and c.relkind in ('r', 'm')
      and c.relpersistence <> 't'
      and c.relfilenode <> 0
      and c.relnamespace <> 'rowcast'::regnamespace
      and c.relfilenode is distinct from pg_relation_filenode(c.oid)
  ) then
    raise exception using errcode = '40001',
      message = 'a table was rewritten while this read failed',
      hint = 'By ALTER TABLE, TRUNCATE, VACUUM FULL or the like: ask again.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_any_rewrite() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_any_rewrite() IS 'Fails with 40001 if any table was rewritten since the snapshot of this transaction.';

CREATE FUNCTION rowcast.check_callable() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_listed constant regprocedure := new.function;
  v_asked constant regprocedure := new.may_call;
  v_function pg_proc;
  v_rule pg_proc;
  v_wrong text;
  v_closed text;
begin
  new.function := v_listed;
  new.may_call := v_asked;
  select * into v_function from pg_proc where oid = v_listed;
  select case
    when v_function.prokind is distinct from 'f' then 'it is no plain function'
    when v_function.provariadic <> 0 then 'it is variadic'
    when v_function.prorettype = 'record'::regtype and v_function.proallargtypes is null
      then 'it returns record without naming columns'
    when exists (
      select from unnest(v_function.proargtypes::oid[] || v_function.prorettype) t (oid)
      join pg_type on pg_type.oid = t.oid
      where typtype = 'p' and t.oid not in ('void'::regtype, 'record'::regtype)
    ) then 'it has a pseudo-type'
    when v_function.pronargs = 1 and v_function.proargnames is null
      and v_function.proargtypes[0] in ('json'::regtype, 'jsonb'::regtype) then null
    when exists (
      select from generate_series(1, coalesce(
        cardinality(v_function.proallargtypes), v_function.pronargs)) n
      where coalesce(v_function.proargmodes[n], 'i') in ('i', 'b')
        and coalesce(v_function.proargnames[n], '') = ''
    ) then 'an argument has no name'
  end into v_wrong;
  if new.may_call is not null then
    select * into v_rule from pg_proc where oid = v_asked;
    if v_rule.prorettype is distinct from 'boolean'::regtype or v_rule.prokind <> 'f'
      or v_rule.proretset or v_rule.pronargs <> 2
      or (v_rule.proargtypes[0], v_rule.proargtypes[1]) <> ('jsonb'::regtype, 'text'::regtype) then
      v_wrong := 'may_call is no function (claims jsonb, name text) returns boolean';
    end if;
  end if;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('%s can''t be called as %s: %s', coalesce(new.function, 'null'),
        coalesce(new.name, 'null'), v_wrong),
      hint = 'List a function whose arguments all have names, or one with a single json or jsonb '
        'without a name, which then gets all of them.';
  end if;

  select string_agg(p.oid::regprocedure::text, ', ') into v_closed
  from pg_proc p
  where p.oid in (v_listed, v_asked)
    and not (has_function_privilege('rowcast_owner', p.oid, 'execute')
      and has_schema_privilege('rowcast_owner', p.pronamespace, 'usage'));
  if v_closed is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not execute %s', v_closed),
      hint = 'It is who calls: grant it USAGE on the schema and EXECUTE on the function.';
  end if;
  return new;
end
$$;

ALTER FUNCTION rowcast.check_callable() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_callable() IS 'Refuses to list what can''t be called; SQLSTATE RC003, RC004.';

CREATE FUNCTION rowcast.check_columns(p_table regclass, p_operation text) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_columns text[];
  v_wrong text;
begin
  select array_agg(attname::text) into v_columns
  from pg_attribute where attrelid = 'pg_temp.rowcast_checked'::regclass and attnum > 0;

  select format(
    '%s is %s, not %s', w.name, coalesce(format_type(a.atttypid, null), 'missing'), w.types
  )
  into v_wrong
  from (values
    ('name', 'text', true), ('rooms', 'text[]', true), ('data', 'json or jsonb', true),
    ('channel', 'text', false), ('render', 'text', false)
  ) w (name, types, required)
  left join pg_attribute a
    on a.attrelid = 'pg_temp.rowcast_checked'::regclass and a.attname = w.name and a.attnum > 0
  where (a.attname is null and w.required)
    or (a.attname is not null and format_type(a.atttypid, null) not in
      (select trim(t) from regexp_split_to_table(w.types, ' or ') t
       union select 'character varying' where w.types = 'text'))
  limit 1;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s: column %s', p_operation, p_table, v_wrong),
      hint = 'It has to return name text, rooms text[], data json, and may return channel text and '
        'render text.';
  end if;
  select string_agg(c, ', ') into v_wrong
  from unnest(v_columns) c where c not in ('name', 'rooms', 'data', 'channel', 'render');
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s returns columns nobody reads: %s',
        p_operation, p_table, v_wrong),
      hint = 'Put what the browser should get into data.';
  end if;
  return v_columns;
end
$$;

ALTER FUNCTION rowcast.check_columns(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_columns(p_table regclass, p_operation text) IS 'The columns of the query that rowcast.check_query checks; SQLSTATE RC003 if they are no event''s.';

CREATE FUNCTION rowcast.check_computed(p_table regclass, p_operation text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_virtual text[];
  v_read text;
begin
  select string_agg(distinct a.attname, ', ') into v_read
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refobjid in (to_regclass('pg_temp.new_rows'), to_regclass('pg_temp.old_rows'))
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass and a.attnum < 0;
  if v_read is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s reads %s: triggers are given no system columns',
        p_operation, p_table, v_read),
      hint = 'Of a row that is still there the table has them: join it by its key.';
  end if;

  -- An inheritance child may have columns of its own, which whole rows of its trigger hold.
  select array_agg(distinct a.attname::text) into v_virtual
  from pg_attribute a
  where a.attgenerated = 'v' and not a.attisdropped
    and (a.attrelid = p_table or rowcast.is_below(a.attrelid, p_table));
  if v_virtual is null then
    return;
  end if;
  -- Which columns a query reads of a table, PostgreSQL notes for its rights: the number of each
  -- plus 7, and 7 for the whole row. Dependencies do not say the latter.
  select string_agg(distinct coalesce(a.attname, 'whole rows of ' || c.relname), ', ') into v_read
  from pg_rewrite r
  cross join lateral regexp_matches(
    r.ev_action::text,
    '[{]RTEPERMISSIONINFO :relid ([0-9]+) [^}]*:selectedCols [(]b([ 0-9]*)[)]',
    'g'
  ) t (rights)
  join pg_class c on c.oid = t.rights[1]::oid
    and c.oid in (to_regclass('pg_temp.new_rows'), to_regclass('pg_temp.old_rows'))
  cross join lateral regexp_split_to_table(ltrim(t.rights[2]), ' ') b (bit)
  left join pg_attribute a on a.attrelid = c.oid and a.attnum = nullif(b.bit, '')::integer - 7
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and (b.bit = '7' or a.attname = any (v_virtual));
  if v_read is not null then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s reads %s: '
        'triggers are not given virtual generated columns, here %s',
        p_operation, p_table, v_read, array_to_string(v_virtual, ', ')),
      hint = 'Name the columns that it needs, and write the expression of a virtual one out; or '
        'make that STORED.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_computed(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_computed(p_table regclass, p_operation text) IS 'Refuses a query over system or virtual generated columns of new_rows and old_rows; RC003.';

CREATE FUNCTION rowcast.check_horizon(p_from pg_snapshot) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if not rowcast.remembers(p_from) then
    raise exception using errcode = 'RC007',
      message = 'the log has forgotten some of what came after this place',
      hint = 'Read the data anew, and go on from rowcast.bookmark().';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_horizon(p_from pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_horizon(p_from pg_snapshot) IS 'Raises RC007 if the log has forgotten some of what came after a snapshot.';

CREATE FUNCTION rowcast.check_operation(p_operation text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if p_operation is null or p_operation not in ('insert', 'update', 'delete', 'truncate') then
    raise exception using errcode = 'RC003',
      message = format('there is no operation %L', p_operation),
      hint = 'One of insert, update, delete, truncate; one call for each.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_operation(p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_operation(p_operation text) IS 'Refuses what is not insert, update, delete or truncate; SQLSTATE RC003.';

CREATE FUNCTION rowcast.check_owner() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if current_user <> 'rowcast_owner' then
    raise exception using errcode = 'RC009',
      message = format('a function of schema rowcast belongs to %s, not to rowcast_owner',
        current_user),
      hint = 'After a restore with --no-owner: drop schema rowcast cascade, and restore it with '
        'its owners and grants, or migrate anew.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_owner() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_owner() IS 'Refuses to run what others wrote as anybody but rowcast_owner; SQLSTATE RC009.';

CREATE FUNCTION rowcast.check_query(p_table regclass, p_operation text, p_query text) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    SET client_min_messages TO 'warning'
    SET quote_all_identifiers TO 'off'
    AS $_$
declare
  -- As it stands in the trigger: in parentheses, without the semicolon that ends a statement.
  v_query text := format(
    e'select * from (\n%s\n) q', regexp_replace(p_query, '[[:space:];]+$', '')
  );
  v_columns text[];
  v_wrong text;
  v_plan json;
begin
  if coalesce(p_query, '') !~ '[^[:space:]]' then
    raise exception using errcode = 'RC003',
      message = format('there is no query for %s on %s', p_operation, p_table),
      hint = 'Give a select that returns name text, rooms text[] and data json.';
  end if;
  -- It would find the tables that it is checked with, and nothing in the trigger.
  if p_query ~* 'pg_temp"?[[:space:]]*[.][[:space:]]*"?(new|old)_rows' then
    raise exception using errcode = 'RC003',
      message = format('the query for %s on %s looks for new_rows or old_rows in pg_temp',
        p_operation, p_table),
      hint = 'They are of no schema: write new_rows and old_rows.';
  end if;
  select string_agg(t, ', ') into v_wrong
  from unnest(array['new_rows', 'old_rows', 'rowcast_checked']) t
  where to_regclass('pg_temp.' || t) is not null;
  if v_wrong is not null then
    raise exception using errcode = 'RC003',
      message = format('this session has something temporary of its own that is called %s',
        v_wrong),
      hint = 'Queries are checked with temporary tables and a view of these names: drop yours, or '
        'attach in another session.';
  end if;
  if p_operation in ('insert', 'update') then
    execute format(
      'create temporary table new_rows on commit drop as table %s with no data', p_table
    );
    grant select on pg_temp.new_rows to rowcast_owner;
  end if;
  if p_operation in ('update', 'delete') then
    execute format(
      'create temporary table old_rows on commit drop as table %s with no data', p_table
    );
    grant select on pg_temp.old_rows to rowcast_owner;
  end if;
  begin
    execute 'create temporary view rowcast_checked as ' || v_query;
  exception
    -- One hint for all: that of a syntax error is PostgreSQL's code for more than how a query is
    -- written.
    when others then
      raise exception using errcode = 'RC003',
        message = format('the query for %s on %s does not work: %s', p_operation, p_table, sqlerrm),
        hint = 'It is one select that can stand in parentheses, with no comment behind a '
          'semicolon. It may read new_rows (insert, update) and old_rows (update, delete). Every '
          'other table, function and operator needs its schema in front: a operator(public.->) b.';
  end;

  v_columns := rowcast.check_columns(p_table, p_operation);
  perform rowcast.check_computed(p_table, p_operation);
  perform rowcast.check_rights(p_table, p_operation);
  begin
    v_plan := rowcast.plan_query(v_query);
  exception
    when insufficient_privilege then
      raise exception using errcode = 'RC004',
        message = format('rowcast_owner may not run the query for %s on %s: %s',
          p_operation, p_table, sqlerrm),
        hint = 'Grant it usage on the schemas of all that the query names, types too. And leave '
          'out `for update` and its like: they lock rows, which takes more than to read them.';
    when others then
      -- Such as a constant that can't be computed: that is for the first write to find out.
      v_plan := null;
  end;
  if v_plan ->> 'Node Type' = 'Seq Scan' and v_plan -> 'Plans' is null
    and v_plan ->> 'Relation Name' in ('new_rows', 'old_rows')
  then
    v_columns := v_columns || '(plain)'::text;
  end if;
  v_columns := v_columns || rowcast.settings_for(p_query, 'pg_temp.rowcast_checked');

  drop view pg_temp.rowcast_checked;
  drop table if exists pg_temp.new_rows, pg_temp.old_rows;
  return v_columns;
end
$_$;

ALTER FUNCTION rowcast.check_query(p_table regclass, p_operation text, p_query text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_query(p_table regclass, p_operation text, p_query text) IS 'Checks a query over new_rows and old_rows and returns its columns; SQLSTATE RC003 or RC004.';

CREATE FUNCTION rowcast.check_rewrites() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'on'
    AS $$
begin
  if pg_relation_size('pg_class') < 1000000
    and not exists (select from pg_class where xmax <> '0')
  then
    return;
  end if;
  if exists (
    select from pg_locks l
    left join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid()
      and l.locktype = 'relation'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and c.relnamespace is distinct from 'rowcast'::regnamespace
      -- Null: it is no index.
      and pg_index_has_property(l.relation, 'clusterable') is null
      -- Some catalogs have 0, and a table that our snapshot does not show yet has none.
      and (c.oid is null or c.relfilenode <> 0)
      and pg_relation_filenode(l.relation) <> coalesce(c.relfilenode, 0)
  ) then
    raise exception using errcode = '40001',
      message = 'a table that this read was rewritten meanwhile',
      hint = 'By ALTER TABLE, TRUNCATE, VACUUM FULL or the like: ask again.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_rewrites() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_rewrites() IS 'Fails with 40001 if a table that this transaction read was rewritten since its snapshot.';

CREATE FUNCTION rowcast.check_rights(p_table regclass, p_operation text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_wrong text;
begin
  select string_agg(distinct d.refobjid::regclass::text, ', ') into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass
  join pg_class c on c.oid = d.refobjid
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and c.relpersistence <> 't'
    and not (
      has_any_column_privilege('rowcast_owner', c.oid, 'select')
      and has_schema_privilege('rowcast_owner', c.relnamespace, 'usage')
    );
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not read %s, which the query for %s on %s reads',
        v_wrong, p_operation, p_table),
      hint = 'Grant usage on the schema and select on the table to rowcast_owner.';
  end if;

  -- No error to PostgreSQL: the query would find nothing, and nobody would know why.
  select min(c.oid::regclass::text) into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass
  join pg_class c on c.oid = d.refobjid
  join pg_roles o on o.rolname = 'rowcast_owner'
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and c.relrowsecurity and not o.rolbypassrls
    and (c.relforcerowsecurity or not pg_has_role(o.oid, c.relowner, 'usage'))
    and not exists (
      select from pg_policy p cross join lateral unnest(p.polroles) m (role)
      where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
        and (m.role = 0 or pg_has_role(o.oid, m.role, 'usage'))
    );
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('no policy lets rowcast_owner see %s, which the query for %s on %s reads',
        v_wrong, p_operation, p_table),
      hint = format('create policy rowcast on %s for select to rowcast_owner using (true);',
        v_wrong);
  end if;

  select string_agg(distinct d.refobjid::regprocedure::text, ', ') into v_wrong
  from pg_rewrite r
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_proc'::regclass
  where r.ev_class = 'pg_temp.rowcast_checked'::regclass
    and not has_function_privilege('rowcast_owner', d.refobjid, 'execute');
  if v_wrong is not null then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not call %s, which the query for %s on %s calls',
        v_wrong, p_operation, p_table),
      hint = 'Grant execute on the function to rowcast_owner.';
  end if;
end
$$;

ALTER FUNCTION rowcast.check_rights(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_rights(p_table regclass, p_operation text) IS 'Refuses a query over what rowcast_owner may not read or call; SQLSTATE RC004.';

CREATE FUNCTION rowcast.check_rule() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $$
declare
  v_function constant regprocedure := to_jsonb(new) ->> tg_argv[0];
  v_rule pg_proc;
begin
  select * into v_rule from pg_proc where oid = v_function;
  if v_rule.prokind is distinct from 'f' or v_rule.proretset
    or oidvectortypes(v_rule.proargtypes) <> tg_argv[1]
    or format_type(v_rule.prorettype, null) <> tg_argv[2]
  then
    raise exception using errcode = 'RC003',
      message = format('%s is no rule for rowcast.%s: it returns %s',
        coalesce(v_function::text, 'null'), tg_table_name,
        coalesce(pg_get_function_result(v_rule.oid), 'nothing')),
      hint = format('A function (%s) returns %s is asked here.', tg_argv[1], tg_argv[2]);
  end if;
  if not (has_function_privilege('rowcast_owner', v_rule.oid, 'execute')
    and has_schema_privilege('rowcast_owner', v_rule.pronamespace, 'usage'))
  then
    raise exception using errcode = 'RC004',
      message = format('rowcast_owner may not execute %s', v_function),
      hint = 'It is who asks: grant it USAGE on the schema and EXECUTE on the function.';
  end if;
  return jsonb_populate_record(new, jsonb_build_object(tg_argv[0], v_function::text));
end
$$;

ALTER FUNCTION rowcast.check_rule() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_rule() IS 'Refuses rules that can''t be asked; SQLSTATE RC003, RC004.';

CREATE FUNCTION rowcast.check_table(p_table regclass, p_operation text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_is text;
  v_hint text;
begin
  if not exists (select from pg_class where oid = p_table) then
    raise exception using errcode = 'RC003',
      message = format('there is no table %s', coalesce(p_table::text, 'null')),
      hint = 'Name it with its schema: ''shop.orders''.';
  end if;
  select r.what, r.hint into v_is, v_hint
  from pg_class c
  cross join lateral (
    values
      (c.relkind = 'f', 'a foreign table',
        'Its rows change on the other server too, unseen from here. Attach there.'),
      (c.relkind not in ('r', 'p'), 'not a table',
        'Attach to the tables that a view reads, not to the view.'),
      -- An event about an event would be one more, without end: every write would hang.
      (c.relnamespace = 'rowcast'::regnamespace, 'a table of Rowcast''s own',
        'Attach to the tables of the application.'),
      (c.relpersistence = 't', 'a temporary table',
        'It goes with its session, which alone writes to it. Attach to a table that stays.'),
      -- PostgreSQL collects no transition rows from one, and fails the parent's writes instead.
      (p_operation <> 'truncate' and exists (
        select from pg_class f where f.relkind = 'f' and rowcast.is_below(f.oid, p_table)
      ), 'a table with a foreign one below it',
        'The application''s writes to it would fail. Attach to its local partitions.')
  ) r (applies, what, hint)
  where c.oid = p_table and r.applies
  limit 1;
  if v_is is not null then
    raise exception using errcode = 'RC003',
      message = format('%s is %s', p_table, v_is),
      hint = v_hint;
  end if;
end
$$;

ALTER FUNCTION rowcast.check_table(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.check_table(p_table regclass, p_operation text) IS 'Refuses what can''t be attached to, such as views, foreign tables, Rowcast''s own; RC003.';

CREATE FUNCTION rowcast.checked_name(p_channel text, p_name text, p_rooms text[], p_data json) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_channel constant rowcast.name := coalesce(p_channel, '');
  v_data constant rowcast.payload := p_data;
  v_rooms rowcast.rooms;
begin
  if array_ndims(p_rooms) > 1 then
    raise exception using errcode = '23514', constraint = 'rooms_are_a_list',
      message = 'rooms are an array of several dimensions, which violates "rooms_are_a_list"';
  end if;
  v_rooms := coalesce(p_rooms, '{}');
  if getdatabaseencoding() <> 'UTF8' then
    perform convert_to(concat(p_channel, p_name, p_rooms, p_data), 'UTF8');
  end if;
  return coalesce(p_name, '')::rowcast.name;
end
$$;

ALTER FUNCTION rowcast.checked_name(p_channel text, p_name text, p_rooms text[], p_data json) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.checked_name(p_channel text, p_name text, p_rooms text[], p_data json) IS 'Returns p_name; SQLSTATE 23514, with the bound''s name, for an event that is out of bounds.';

CREATE FUNCTION rowcast.decode_snapshot(p_text text) RETURNS pg_snapshot
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format(
    '%s:%s:%s',
    parts[1],
    parts[1] + parts[2],
    (
      select string_agg(running::text, ',' order by place)
      from (
        select place, parts[1] + sum(gap) over (order by place) as running
        from unnest(parts[3:]) with ordinality as g (gap, place)
      ) r
    )
  )::pg_snapshot
  from (select string_to_array(p_text, '_')::bigint[] as parts) p
$$;

ALTER FUNCTION rowcast.decode_snapshot(p_text text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.decode_snapshot(p_text text) IS 'The snapshot that a part of a bookmark spells.';

CREATE FUNCTION rowcast.detach(p_table regclass, p_operation text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_attached record;
  v_trigger record;
  v_gone boolean := false;
begin
  if p_operation is not null then
    perform rowcast.check_operation(p_operation);
  end if;
  -- A former partition still has the trigger of the table that it hung below.
  for v_trigger in
    select operation from rowcast.attachment
    where relation = p_table and state = 'left behind'
      and (p_operation is null or operation = p_operation)
  loop
    execute format('drop trigger %I on %s', '_900_rowcast_' || v_trigger.operation, p_table);
    v_gone := true;
  end loop;
  for v_attached in
    select a.*, to_regprocedure(a.function_name || '()') as function from rowcast.attached a
    where a.relation = p_table and (p_operation is null or a.operation = p_operation)
  loop
    delete from rowcast.attached
    where relation = v_attached.relation and operation = v_attached.operation;
    for v_trigger in
      select t.tgname as name, t.tgrelid::regclass as relation
      from pg_trigger t
      left join rowcast.tables_below(p_table) b on b.relation = t.tgrelid
      where t.tgfoid = v_attached.function and not exists (
        select from rowcast.attached o
        where to_regprocedure(o.function_name || '()') = t.tgfoid
          and t.tgname = '_900_rowcast_' || o.operation
          and (t.tgrelid = o.relation or rowcast.is_below(t.tgrelid, o.relation))
      )
      order by b.depth nulls last, t.tgrelid
    loop
      execute format('drop trigger %I on %s', v_trigger.name, v_trigger.relation);
    end loop;
    if not exists (
      select from rowcast.attached o
      where to_regprocedure(o.function_name || '()') = v_attached.function
    ) then
      execute format('drop function if exists %s()', v_attached.function_name);
    end if;
    v_gone := true;
  end loop;
  if not v_gone then
    raise exception using errcode = 'RC005',
      message = format('nothing is attached to %s%s',
        coalesce(p_table::text, 'null'), ' for ' || p_operation),
      hint = 'See what is: select * from rowcast.attachment.';
  end if;
end
$$;

ALTER FUNCTION rowcast.detach(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.detach(p_table regclass, p_operation text) IS 'Removes what rowcast.attach made; all operations where none is named. SQLSTATE RC003, RC005.';

CREATE FUNCTION rowcast.emit(p_channel text, p_name text, p_rooms text[], p_data json) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  insert into rowcast.event (channel, name, rooms, data)
  values (p_channel, rowcast.checked_name(p_channel, p_name, p_rooms, p_data), p_rooms, p_data)
  returning id
$$;

ALTER FUNCTION rowcast.emit(p_channel text, p_name text, p_rooms text[], p_data json) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.emit(p_channel text, p_name text, p_rooms text[], p_data json) IS 'Pushes one event when the transaction commits; returns its id.';

CREATE FUNCTION rowcast.encode_snapshot(p_snapshot pg_snapshot) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with running as (
    select x::text::bigint as x,
      coalesce(lag(x::text::bigint) over w, pg_snapshot_xmin(p_snapshot)::text::bigint) as before,
      row_number() over w as place
    from pg_snapshot_xip(p_snapshot) x
    window w as (order by x)
  ),
  measured as (
    -- 39 bytes stand aside for xmin and the distance of xmax.
    select *, sum(length((x - before)::text) + 1) over (order by place) <= 960 as fits
    from running
  )
  select concat_ws(
    '_',
    pg_snapshot_xmin(p_snapshot)::text,
    coalesce(
      (select min(x) from measured where not fits),
      pg_snapshot_xmax(p_snapshot)::text::bigint
    ) - pg_snapshot_xmin(p_snapshot)::text::bigint,
    (select string_agg((x - before)::text, '_' order by place) from measured where fits)
  )
$$;

ALTER FUNCTION rowcast.encode_snapshot(p_snapshot pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.encode_snapshot(p_snapshot pg_snapshot) IS 'A snapshot as bookmarks spell it.';

CREATE FUNCTION rowcast.ensure_history() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if rowcast.history() = 'none' then
    lock table rowcast.history_mark in exclusive mode;
    if rowcast.history() = 'none' then
      -- Not to wait for a standby that is missing. Losing this in a crash loses nothing: that
      -- begins another history.
      perform set_config('synchronous_commit', 'off', true);
      perform rowcast.new_history();
    end if;
  end if;
  return rowcast.history();
end
$$;

ALTER FUNCTION rowcast.ensure_history() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.ensure_history() IS 'Returns the current history, beginning a new one after a crash, a promotion or a restore.';

CREATE FUNCTION rowcast.enter_leaf(p_turn bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update rowcast.leaf set left_at = clock_timestamp()
  where leaf <> p_turn % 6 and turn is not null and left_at is null;
  update rowcast.leaf
  set turn = p_turn, entered_at = clock_timestamp(), left_at = null, refused_at = null
  where leaf = p_turn % 6;
$$;

ALTER FUNCTION rowcast.enter_leaf(p_turn bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.enter_leaf(p_turn bigint) IS 'Notes that this turn''s leaf is written now.';

CREATE FUNCTION rowcast.event_rows(p_query text, p_columns text[], p_channel text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_channels boolean := 'channel' = any (p_columns);
  v_renders boolean := 'render' = any (p_columns);
  v_channel text := case
    when v_channels then format('coalesce(q.channel, %L)', p_channel)
    else quote_literal(p_channel) || '::text'
  end;
  v_template text := $select$select q.channel,
      case when octet_length(q.words) <= 200 and q.words !~ '[[:cntrl:]]' and q.name <> ''{named}
          and q.rooms[1] is not null and (pg_column_size(q.data) <= 4000) is not false{plain}
        then q.name else rowcast.checked_name(q.channel, q.name, q.rooms, q.data)
      end as name,
      q.rooms, q.data, q.render
    from (
      select {channel} collate "default" as channel, q.name collate "default" as name,
        q.rooms collate "default" as rooms, {data} as data, {render} as render,
        ({prefix}q.name || array_to_string(q.rooms, '', chr(10))) collate "default" as words
      from (
{query}
      ) q offset 0
    ) q
    where cardinality(q.rooms) > 0$select$;
begin
  return rowcast.fill_in(v_template, jsonb_build_object(
    'channel', v_channel,
    'prefix', case when v_channels then v_channel || ' || ' else '' end,
    'named', case when v_channels then ' and q.channel <> ''''' else '' end,
    'plain', case when getdatabaseencoding() = 'UTF8' then '' else ' and false' end,
    'render', case when v_renders then 'q.render' else 'null::text' end,
    'data', case
      when v_renders then 'case when q.render is null then q.data::json '
        'else q.data::jsonb::json end'
      else 'q.data::json'
    end,
    -- What may stand behind a statement, but not behind one in parentheses.
    'query', regexp_replace(p_query, '[[:space:];]+$', '')
  ));
end
$_$;

ALTER FUNCTION rowcast.event_rows(p_query text, p_columns text[], p_channel text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.event_rows(p_query text, p_columns text[], p_channel text) IS 'The select that a trigger function inserts its events from: a part of rowcast.trigger_source.';

CREATE FUNCTION rowcast.events_since(p_bookmark text, p_rooms text[] DEFAULT NULL::text[], p_limit bigint DEFAULT 10000) RETURNS TABLE(outcome text, reason text, bookmark text, id bigint, at timestamp with time zone, channel text, name text, rooms text[], data json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_place record := rowcast.parse_bookmark(p_bookmark);
  v_now pg_snapshot := pg_current_snapshot();
  v_history text := rowcast.history();
  v_end text := rowcast.bookmark();
  v_gap text;
begin
  if v_place.history <> v_history or v_history = 'none' then
    v_gap := 'history';
  elsif pg_snapshot_xmax(coalesce(v_place.batch, v_place.base)) > pg_snapshot_xmax(v_now) then
    v_gap := 'future';
  else
    begin
      -- Nothing may be returned before it is known that all of it can be.
      select case
        when count(*) > p_limit then 'limit'
        when bool_or(n.failed or n.told <> 'paused') then 'trigger'
        when bool_or(n.told = 'paused') then 'paused'
      end
      into v_gap
      from (
        select l.failed,
          case l.name when 'rowcast:gap' then coalesce(l.data ->> 'reason', '') end as told
        from rowcast.read_log(v_place.base, v_place.batch, v_place.id, p_rooms, p_limit + 1) l
        where v_place.batch is not null
        union all
        select l.failed, case l.name when 'rowcast:gap' then coalesce(l.data ->> 'reason', '') end
        from rowcast.read_log(
          coalesce(v_place.batch, v_place.base), null, null, p_rooms, p_limit + 1
        ) l
      ) n;
    exception
      when sqlstate 'RC007' then
        v_gap := 'horizon';
    end;
  end if;
  if v_gap is not null then
    return query select 'gap', v_gap, v_end, null::bigint, null::timestamptz,
      null, null, null::text[], null::json;
    return;
  end if;

  return query
  with lacking as (
    select 1 as part, v_place.base as s0, v_place.batch as s1, l.*
    from rowcast.read_log(v_place.base, v_place.batch, v_place.id, p_rooms) l
    where v_place.batch is not null
    union all
    select 2, coalesce(v_place.batch, v_place.base), v_now, l.*
    from rowcast.read_log(coalesce(v_place.batch, v_place.base), null, null, p_rooms) l
  )
  select 'event', null::text,
    concat_ws('.', v_history, rowcast.encode_snapshot(s0), rowcast.encode_snapshot(s1), id::text),
    id, at, channel, name, rooms, data
  from lacking
  order by part, id;

  return query select 'end', null::text, v_end, null::bigint, null::timestamptz,
    null::text, null::text, null::text[], null::json;
end
$$;

ALTER FUNCTION rowcast.events_since(p_bookmark text, p_rooms text[], p_limit bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.events_since(p_bookmark text, p_rooms text[], p_limit bigint) IS 'The events a reader with this bookmark lacks in these rooms (null: all), or a gap.';

CREATE FUNCTION rowcast.fill_in(p_template text, p_parts jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select string_agg(case place % 2 when 1 then part else p_parts ->> part end, '' order by place)
  from regexp_split_to_table(p_template, '[{}]') with ordinality t (part, place)
$$;

ALTER FUNCTION rowcast.fill_in(p_template text, p_parts jsonb) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.fill_in(p_template text, p_parts jsonb) IS 'A template with its {names} replaced, for the text of a trigger function.';

CREATE FUNCTION rowcast.fit_arguments(p_function regprocedure, p_args text, OUT problem text, OUT source text, OUT call text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_function pg_proc;
  v_given text[];
  v_argument record;
  v_columns text[] := '{}';
  v_actuals text[] := '{}';
begin
  select * into v_function from pg_proc where oid = p_function;
  source := '(values ($1)) a (args)';
  begin
    v_given := array(select jsonb_object_keys(p_args::jsonb));
  exception
    when others then
      problem := 'the arguments are to be one JSON object, of text that PostgreSQL can hold';
      return;
  end;
  if v_function.pronargs = 1 and v_function.proargnames is null then
    call := format('%s(a.args::%s)', p_function::oid::regproc,
      v_function.proargtypes[0]::regtype);
    return;
  end if;

  for v_argument in
    select a.name, format_type(a.type, null) as type,
      row_number() over (order by a.place) > v_function.pronargs - v_function.pronargdefaults
        as may_lack
    from unnest(
      coalesce(v_function.proallargtypes, v_function.proargtypes::oid[]),
      v_function.proargnames,
      coalesce(v_function.proargmodes, array_fill('i'::"char", array[v_function.pronargs::integer]))
    ) with ordinality a (type, name, mode, place)
    where a.mode in ('i', 'b')
    order by a.place
  loop
    if v_argument.name = any (v_given) then
      v_given := array_remove(v_given, v_argument.name);
      v_columns := v_columns || format('%I %s', v_argument.name, v_argument.type);
      v_actuals := v_actuals || format('%1$I => a.%1$I', v_argument.name);
    elsif not v_argument.may_lack then
      problem := format('the argument %s is missing', quote_ident(v_argument.name));
      return;
    end if;
  end loop;
  if cardinality(v_given) > 0 then
    problem := format('there is no argument %s', quote_ident(left(v_given[1], 63)));
    return;
  end if;
  if cardinality(v_columns) > 0 then
    source := format('json_to_record($1::json) a (%s)', array_to_string(v_columns, ', '));
  end if;
  call := format('%s(%s)', p_function::oid::regproc, array_to_string(v_actuals, ', '));
  problem := rowcast.misfit(v_columns, p_args);
end
$_$;

ALTER FUNCTION rowcast.fit_arguments(p_function regprocedure, p_args text, OUT problem text, OUT source text, OUT call text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.fit_arguments(p_function regprocedure, p_args text, OUT problem text, OUT source text, OUT call text) IS 'From where and how to call a function with arguments from JSON, or what is wrong with them.';

CREATE FUNCTION rowcast.forget_failures() RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  delete from rowcast.failure
  where id = any (array(
    select f.id from rowcast.failure f
    where f.id <= (select max(id) from rowcast.failure)
      - (select keep_failures from rowcast.setting)
    order by f.id
    limit 10000
    for update skip locked
  ))
$$;

ALTER FUNCTION rowcast.forget_failures() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.forget_failures() IS 'Deletes old rows of rowcast.failure.';

CREATE FUNCTION rowcast.forget_leaf(p_leaf integer, p_read pg_snapshot) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_leaf text := format('rowcast.event_%s', p_leaf);
  v_newest text := format(
    'select (select xid from %s order by xid desc limit 1), pg_current_snapshot()', v_leaf
  );
  v_last xid8;
  v_now pg_snapshot;
  v_unread boolean;
begin
  -- Once without the lock: dead ends of the index are marked, and it is quick with the lock.
  execute v_newest into v_last, v_now;
  -- Looks hold it for a fraction of a millisecond, again and again: a service tries a few times.
  for v_try in 1..5 loop
    begin
      execute format('lock table %s in access exclusive mode nowait', v_leaf);
      exit;
    exception
      when lock_not_available then
        if p_read is null or v_try = 5 then
          raise;
        end if;
        perform pg_sleep(0.001);
    end;
  end loop;
  if current_setting('transaction_isolation') = 'read committed' then
    execute v_newest into v_last, v_now;
  else
    -- Its snapshot may be old. But no transaction that has ended has an xid above a new one.
    v_last := rowcast.new_xid();
    v_now := format('%s:%s:', v_last, v_last)::pg_snapshot;
  end if;
  execute format(
    'select exists (select from %1$s where xid >= pg_snapshot_xmax($1))
      or exists (select from %1$s where xid = any (array(select pg_snapshot_xip($1))))',
    v_leaf
  ) into v_unread using p_read;
  -- Or writers have come in after all, with the last id of the leaf before.
  if v_unread or (pg_sequence_last_value('rowcast.event_id_seq'::regclass) >> 20) % 6 = p_leaf then
    raise lock_not_available;
  end if;
  if v_last is not null then
    -- The less it sees, the fewer gaps: p_read sees all of the leaf, and whoever stands there or
    -- later is safe, whatever has ended since.
    if exists (select from rowcast.forgotten where rowcast.is_subset(seen, p_read)) then
      v_now := p_read;
    end if;
    perform rowcast.set_horizon(
      greatest(
        pg_sequence_last_value('rowcast.horizon'::regclass),
        v_last::text::bigint + 1
      ),
      v_now
    );
  end if;
  execute format('truncate %s', v_leaf);
  return true;
exception
  when lock_not_available then
    -- A lock that was taken in vain is given back by this.
    return false;
end
$_$;

ALTER FUNCTION rowcast.forget_leaf(p_leaf integer, p_read pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.forget_leaf(p_leaf integer, p_read pg_snapshot) IS 'Empties a leaf of the log without waiting; false if it is in use, or not all of it in p_read.';

CREATE FUNCTION rowcast.forget_readers() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with old as (
    select r.sub, r.name
    from rowcast.reader r, rowcast.setting s
    where r.at < clock_timestamp() - s.reader_keep
    for update of r skip locked
  ),
  gone as (
    delete from rowcast.reader r using old where r.sub = old.sub and r.name = old.name returning 1
  )
  select count(*) from gone
$$;

ALTER FUNCTION rowcast.forget_readers() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.forget_readers() IS 'Forgets durable readers that were not heard of for reader_keep; how many.';

CREATE FUNCTION rowcast.forget_revocations(p_older_than interval) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_gone bigint;
begin
  if p_older_than < '0' then
    raise exception using errcode = 'RC003',
      message = format('%s is no age', p_older_than),
      hint = 'Give the longest life of a token, such as ''30 days''.';
  end if;
  delete from rowcast.revocation where at < clock_timestamp() - p_older_than;
  get diagnostics v_gone = row_count;
  return v_gone;
end
$$;

ALTER FUNCTION rowcast.forget_revocations(p_older_than interval) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.forget_revocations(p_older_than interval) IS 'Removes revocations older than this, which has to be the longest life of a token; how many. SQLSTATE RC003 for a negative age.';

CREATE FUNCTION rowcast.has_control(p_text text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_text ~ case when getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'
    then '[[:cntrl:]]' else '(?=[[:ascii:]])[[:cntrl:]]' end
$$;

ALTER FUNCTION rowcast.has_control(p_text text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.has_control(p_text text) IS 'Whether a text has control characters, of which names and rooms have none.';

CREATE FUNCTION rowcast.has_utf8(p_text text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    begin
      perform convert_to(p_text, 'UTF8');
    exception
      when untranslatable_character or character_not_in_repertoire then
        return false;
    end;
  end if;
  return true;
end
$$;

ALTER FUNCTION rowcast.has_utf8(p_text text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.has_utf8(p_text text) IS 'Whether a text can be sent; it always can in a database whose encoding is UTF8.';

CREATE FUNCTION rowcast.highest_xid() RETURNS xid8
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select greatest(
    (select xid from rowcast.event order by xid desc limit 1),
    (pg_sequence_last_value('rowcast.horizon'::regclass) - 1)::text::xid8
  )
$$;

ALTER FUNCTION rowcast.highest_xid() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.highest_xid() IS 'Highest xid that the log has or had, or null.';

CREATE FUNCTION rowcast.history() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_mark rowcast.history_mark;
begin
  if (select count(*) from rowcast.history_mark) <> 1 then
    return 'none';
  end if;
  select * into v_mark from rowcast.history_mark;
  -- Two conditions: on a standby even to plan a query of an unlogged table is an error.
  if not pg_is_in_recovery() then
    if not exists (select from rowcast.history_pulse where nonce = v_mark.nonce) then
      return 'none';
    end if;
  end if;
  if v_mark.nonce not like '%/' || (select system_identifier::text from pg_control_system())
    or v_mark.database_oid is distinct from
      (select oid from pg_database where datname = current_database())
    or v_mark.log_oid is distinct from 'rowcast.event'::regclass::oid then
    return 'none';
  end if;
  if exists (select from rowcast.history_break) then
    return 'none';
  end if;
  return v_mark.name;
end
$$;

ALTER FUNCTION rowcast.history() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.history() IS 'Identity of the history that bookmarks belong to.';

CREATE FUNCTION rowcast.home_rooms(p_claims jsonb) RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_rule text;
  v_rooms text[];
  v_all text[] := '{}';
begin
  perform rowcast.check_owner();
  perform set_config('request.jwt.claims', p_claims::text, true);
  begin
    for v_rule in select rooms_of from rowcast.home_rule order by rooms_of loop
      execute format('select %s($1)', coalesce(
        to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
      )) into v_rooms using p_claims;
      -- Here it is known whose they are, if they can't be sent.
      perform convert_to(array_to_string(v_rooms, ''), 'UTF8');
      v_all := v_all || coalesce(v_rooms, '{}');
    end loop;
  exception
    when others or assert_failure then
      raise exception using errcode = sqlstate,
        message = rowcast.rule_failed('home', v_rule, sqlstate, sqlerrm);
  end;
  return array(
    select a.room
    from unnest(v_all) with ordinality a (room, place)
    where a.room <> ''
    group by a.room
    order by min(a.place)
  );
end
$_$;

ALTER FUNCTION rowcast.home_rooms(p_claims jsonb) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.home_rooms(p_claims jsonb) IS 'Rooms joined at connect, from every rowcast.home_rule.';

CREATE FUNCTION rowcast.is_below(p_table regclass, p_parent regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive above as (
    select inhparent from pg_inherits where inhrelid = p_table
    union
    select i.inhparent from above a join pg_inherits i on i.inhrelid = a.inhparent
  )
  select exists (select from above where inhparent = p_parent)
$$;

ALTER FUNCTION rowcast.is_below(p_table regclass, p_parent regclass) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_below(p_table regclass, p_parent regclass) IS 'Whether p_table is a partition or an inheritance child of p_parent.';

CREATE FUNCTION rowcast.is_held(p_leaf integer) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (
    select from pg_locks
    where locktype = 'relation' and relation = format('rowcast.event_%s', p_leaf)::regclass
      and database = (select oid from pg_database where datname = current_database())
      and pid is distinct from pg_backend_pid()
  )
$$;

ALTER FUNCTION rowcast.is_held(p_leaf integer) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_held(p_leaf integer) IS 'Whether somebody else has a lock on a leaf of the log, or waits for one; a prepared transaction too.';

CREATE FUNCTION rowcast.is_led() RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (
    select from pg_locks
    where locktype = 'advisory' and classid = 0 and objid = 7692279 and objsubid = 1 and granted
      and database = (select oid from pg_database where datname = current_database())
  )
$$;

ALTER FUNCTION rowcast.is_led() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_led() IS 'Whether a service leads on this database: sets the flag, tends the log.';

CREATE FUNCTION rowcast.is_revoked(p_claims jsonb, p_leeway bigint DEFAULT 0, p_version bigint DEFAULT NULL::bigint) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (
    select from rowcast.revocation r
    where r.sub = p_claims ->> 'sub'
      and (
        jsonb_typeof(p_claims -> 'iat') is distinct from 'number'
        or floor((p_claims ->> 'iat')::numeric) <= floor(extract(epoch from r.at)) + p_leeway
        or r.version > p_version
      )
  )
$$;

ALTER FUNCTION rowcast.is_revoked(p_claims jsonb, p_leeway bigint, p_version bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_revoked(p_claims jsonb, p_leeway bigint, p_version bigint) IS 'Whether a revocation stands against these claims; leeway of clocks in seconds.';

CREATE FUNCTION rowcast.is_subset(p_seen pg_snapshot, p_in pg_snapshot) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select pg_snapshot_xmax(p_seen) <= pg_snapshot_xmax(p_in) and not exists (
    select from pg_snapshot_xip(p_in) x where pg_visible_in_snapshot(x, p_seen)
  )
$$;

ALTER FUNCTION rowcast.is_subset(p_seen pg_snapshot, p_in pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_subset(p_seen pg_snapshot, p_in pg_snapshot) IS 'Whether all that p_seen sees is visible in p_in.';

CREATE FUNCTION rowcast.is_within(p_place text, p_other text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select a.history = b.history and rowcast.is_subset(a.base, b.base) and (
    a.batch is null or rowcast.is_subset(a.batch, b.base)
    or (b.batch is not null and rowcast.is_subset(a.batch, b.batch) and a.id <= b.id)
  )
  from rowcast.parse_bookmark(p_place) a, rowcast.parse_bookmark(p_other) b
$$;

ALTER FUNCTION rowcast.is_within(p_place text, p_other text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.is_within(p_place text, p_other text) IS 'Whether all that lies before one bookmark lies before the other.';

CREATE FUNCTION rowcast.keep_lastval() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_noted constant text := current_setting('rowcast.lastval', true);
begin
  if v_noted <> '' then
    perform nextval('rowcast.lastval'), setval('rowcast.lastval', v_noted::bigint);
  end if;
  return null;
end
$$;

ALTER FUNCTION rowcast.keep_lastval() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.keep_lastval() IS 'A trigger behind that of rowcast.attach: lastval() is again what rowcast.note_lastval noted.';

CREATE FUNCTION rowcast.leaf_is_full(p_last bigint, p_share bigint) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_last & 1048575 >= 786432
    or pg_total_relation_size(format('rowcast.event_%s', (p_last >> 20) % 6)) > p_share
$$;

ALTER FUNCTION rowcast.leaf_is_full(p_last bigint, p_share bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.leaf_is_full(p_last bigint, p_share bigint) IS 'Whether the leaf of this id has its share of bytes, or nearly all of its ids.';

CREATE FUNCTION rowcast.log_size(OUT bytes bigint, OUT events bigint, OUT oldest_at timestamp with time zone, OUT refused_at timestamp with time zone) RETURNS record
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select sum(pg_total_relation_size(t.leaf)), sum(pg_stat_get_live_tuples(t.leaf)),
    min(l.entered_at) filter (where pg_relation_size(t.leaf) > 0), min(l.refused_at)
  from rowcast.leaf l
  cross join lateral (select format('rowcast.event_%s', l.leaf)::regclass as leaf) t
$$;

ALTER FUNCTION rowcast.log_size(OUT bytes bigint, OUT events bigint, OUT oldest_at timestamp with time zone, OUT refused_at timestamp with time zone) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.log_size(OUT bytes bigint, OUT events bigint, OUT oldest_at timestamp with time zone, OUT refused_at timestamp with time zone) IS 'Bytes with indexes; about how many events; since when the oldest leaf was written; and since when a lock keeps a leaf from being emptied.';

CREATE FUNCTION rowcast.look(p_from pg_snapshot, p_render boolean, p_bytes bigint, p_equals boolean DEFAULT false) RETURNS TABLE(snapshot text, more boolean, history text, doorbell text, access_version bigint, rings boolean, queue_usage double precision, id bigint, xid xid8, at timestamp with time zone, channel text, name text, rooms text[], data json, failed boolean, render text, state bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
  v_now pg_snapshot := pg_current_snapshot();
  v_to pg_snapshot := v_now;
  v_more boolean := false;
begin
  if p_bytes is not null
    and pg_snapshot_xmax(v_now)::text::bigint - pg_snapshot_xmax(p_from)::text::bigint > 100
  then
    v_to := coalesce(rowcast.part_way(p_from, p_bytes), v_now);
    v_more := v_to::text <> v_now::text;
  end if;
  return query
  select
    v_to::text,
    v_more,
    -- As rowcast.history(), without what can't change while a connection lives.
    (
      select min(m.name)
      from rowcast.history_mark m
      having count(*) = 1 and not exists (select from rowcast.history_break)
    ),
    s.doorbell,
    s.access_version,
    pg_sequence_last_value('rowcast.doorbell'::regclass) = 1,
    pg_notification_queue_usage(),
    null::bigint, null::xid8, null::timestamptz, null, null, null::text[], null::json,
    null::boolean, null, null::bigint
  from rowcast.setting s;

  -- There each event is looked at, whether it can be sent.
  if p_render or getdatabaseencoding() <> 'UTF8' then
    return query
    select null, null::boolean, null, null, null::bigint, null::boolean, null::float8,
      l.id, l.xid, l.at, l.channel, l.name, l.rooms,
      case when l.state is null or l.id = max(l.id) over (partition by l.state) then l.data end,
      l.failed, null, l.state
    from rowcast.read_log(p_from, v_to, p_equals => p_equals) l
    order by l.id;
    return;
  end if;

  return query
  select null, null::boolean, null, null, null::bigint, null::boolean, null::float8,
    e.id, e.xid, e.at, e.channel, e.name, e.rooms, e.data, false, e.render,
    null::bigint
  from (
    select * from rowcast.event n
    where n.xid >= pg_snapshot_xmax(p_from) and n.xid < pg_snapshot_xmax(v_to)
    union all
    select * from rowcast.event n where n.xid = any (array(
      select x from pg_snapshot_xip(p_from) x where pg_visible_in_snapshot(x, v_to)
    ))
  ) e
  where pg_visible_in_snapshot(e.xid, v_to)
    and e.channel <> all (array(select c.name from rowcast.channel c where c.paused))
  order by e.id;
  perform rowcast.check_horizon(p_from);
end
$$;

ALTER FUNCTION rowcast.look(p_from pg_snapshot, p_render boolean, p_bytes bigint, p_equals boolean) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.look(p_from pg_snapshot, p_render boolean, p_bytes bigint, p_equals boolean) IS 'The state of things, and events since a snapshot: all, or about p_bytes; with p_render, rendered.';

CREATE FUNCTION rowcast.misfit(p_columns text[], p_args text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_column text;
begin
  if cardinality(p_columns) = 0 then
    return null;
  end if;
  execute format(
    'select count(*) from json_to_record($1::json) a (%s)', array_to_string(p_columns, ', ')
  ) using p_args;
  return null;
exception
  when others then
    if cardinality(p_columns) = 1 then
      return format('this argument does not fit its type: %s', p_columns[1]);
    end if;
    foreach v_column in array p_columns loop
      if rowcast.misfit(array[v_column], p_args) is not null then
        return format('this argument does not fit its type: %s', v_column);
      end if;
    end loop;
    raise;
end
$_$;

ALTER FUNCTION rowcast.misfit(p_columns text[], p_args text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.misfit(p_columns text[], p_args text) IS 'Which value of a JSON object does not fit its type; null if all do.';

CREATE FUNCTION rowcast.new_history() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_nonce text := gen_random_uuid()::text || '/'
    || (select system_identifier::text from pg_control_system());
begin
  -- Nobody forgets meanwhile either (rowcast.rotate_log).
  lock table rowcast.history_mark in exclusive mode;
  delete from rowcast.history_mark;
  delete from rowcast.history_pulse;
  -- Writers may come to note losses when the disk is full: eight pages, which are not given back
  -- (V25).
  if pg_relation_size('rowcast.history_break') = 0 then
    begin
      insert into rowcast.history_break select clock_timestamp() from generate_series(1, 1600);
    exception
      -- It is full already. The history begins all the same.
      when disk_full then null;
    end;
  end if;
  -- Those whose writes are visible here: all bookmarks of the new history lie behind them.
  delete from rowcast.history_break;
  -- Rows whose transaction this server has not reached yet, or of which it is another one that is
  -- still open, came with a restore: they would surface later as if they were new. What those open
  -- transactions wrote themselves is not visible here.
  delete from rowcast.event where xid >= pg_snapshot_xmin(pg_current_snapshot())
    and not pg_visible_in_snapshot(xid, pg_current_snapshot())
    and xid <> pg_current_xact_id();
  -- The same with the horizon: one above all transactions of this server would be a gap for ever.
  -- Whoever gets a bookmark of the new history has nothing to do with what was forgotten before.
  perform rowcast.set_horizon(
    least(
      pg_sequence_last_value('rowcast.horizon'::regclass),
      pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    ),
    pg_current_snapshot()
  )
  where pg_sequence_last_value('rowcast.horizon'::regclass) is not null;
  insert into rowcast.history_mark
  select v_nonce, oid, 'rowcast.event'::regclass::oid
  from pg_database where datname = current_database();
  insert into rowcast.history_pulse values (v_nonce);
end
$$;

ALTER FUNCTION rowcast.new_history() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.new_history() IS 'Makes every earlier bookmark answer with a gap.';

CREATE FUNCTION rowcast.new_xid() RETURNS xid8
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION rowcast.new_xid() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.new_xid() IS 'An xid above every xid that was given out before.';

CREATE FUNCTION rowcast.no_function(p_signature text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  raise exception using errcode = 'RC006',
    message = format('there is no function %s: create it, or delete the row that names it',
      p_signature);
end
$$;

ALTER FUNCTION rowcast.no_function(p_signature text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.no_function(p_signature text) IS 'Instead of the name of a function that is listed and was dropped; SQLSTATE RC006.';

CREATE FUNCTION rowcast.not_callable(p_names text[]) RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(array_agg(n order by n), '{}')
  from unnest(p_names) n
  where not exists (
    select from rowcast.callable c
    where c.name = n and to_regprocedure(c.function) is not null
  )
$$;

ALTER FUNCTION rowcast.not_callable(p_names text[]) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.not_callable(p_names text[]) IS 'Those of the names by which nobody can call: not listed in rowcast.callable, or dropped since.';

CREATE FUNCTION rowcast.note_lastval() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  perform set_config('rowcast.lastval', lastval()::text, true);
  return null;
exception
  -- There is none yet in this session, or it is of a sequence that the writer may not read.
  when object_not_in_prerequisite_state or insufficient_privilege then
    perform set_config('rowcast.lastval', '', true);
    return null;
end
$$;

ALTER FUNCTION rowcast.note_lastval() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.note_lastval() IS 'A trigger before that of rowcast.attach: notes lastval() for the one behind it, rowcast.keep_lastval.';

CREATE FUNCTION rowcast.notify_queue_is_filling() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return pg_notification_queue_usage() >= 0.1;
end
$$;

ALTER FUNCTION rowcast.notify_queue_is_filling() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.notify_queue_is_filling() IS 'Whether NOTIFY''s queue is a tenth full: nothing of ours notifies then.';

CREATE FUNCTION rowcast.open_reader(p_sub text, p_name text, p_bookmark text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_setting rowcast.setting;
  v_others bigint;
begin
  perform rowcast.parse_bookmark(p_bookmark);
  select * into v_setting from rowcast.setting;
  select count(*) into v_others
  from rowcast.reader
  where sub = p_sub and name <> p_name and at >= clock_timestamp() - v_setting.reader_keep;
  if v_others >= v_setting.readers_per_user then
    return null;
  end if;
  insert into rowcast.reader as r (sub, name, bookmark) values (p_sub, p_name, p_bookmark)
  on conflict on constraint reader_pkey do update
  set bookmark = excluded.bookmark, at = excluded.at
  where r.at < clock_timestamp() - v_setting.reader_keep;
  return rowcast.reader_place(p_sub, p_name);
end
$$;

ALTER FUNCTION rowcast.open_reader(p_sub text, p_name text, p_bookmark text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.open_reader(p_sub text, p_name text, p_bookmark text) IS 'Makes a durable reader that begins here, if there is none; where it stands, or null: too many.';

CREATE FUNCTION rowcast.overview(p_rows integer) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select jsonb_build_object(
    'failures', (
      select coalesce(jsonb_agg(to_jsonb(f) - 'id' order by f.id desc), '[]')
      from (
        select id, (extract(epoch from at) * 1000)::bigint as at, channel, relation, operation,
          sqlstate, left(message, 500) as message
        from rowcast.failure order by id desc limit p_rows
      ) f
    ),
    'log', (
      select jsonb_build_object(
        'bytes', l.bytes,
        'events', l.events,
        'age', extract(epoch from clock_timestamp() - l.oldest_at)::bigint,
        'refused', extract(epoch from clock_timestamp() - l.refused_at)::bigint,
        'keepBytes', s.keep_bytes,
        'keepFor', extract(epoch from s.keep_for)::bigint
      )
      from rowcast.setting s cross join rowcast.log_size() l
    ),
    -- The session lock of src/database/listening/lead.rs.
    'leader', (
      select jsonb_build_object('name', nullif(a.application_name, ''), 'pid', l.pid)
      from pg_locks l left join pg_stat_activity a using (pid)
      where l.locktype = 'advisory' and l.classid = 0 and l.objid = 7692279 and l.objsubid = 1
        and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
      limit 1
    ),
    'drift', (
      select coalesce(jsonb_agg(to_jsonb(d)), '[]')
      from (
        select relation::text, operation, state from rowcast.attachment
        where state <> 'ok' order by relation::text, operation limit p_rows
      ) d
    ),
    'paused', (
      select coalesce(jsonb_agg(c.name order by c.name), '[]')
      from (select name from rowcast.channel where paused order by name limit p_rows) c
    )
  )
$$;

ALTER FUNCTION rowcast.overview(p_rows integer) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.overview(p_rows integer) IS 'For the console: failures, log, leader, drift and paused channels, at most so many rows of each.';

CREATE FUNCTION rowcast.parse_bookmark(p_bookmark text, OUT history text, OUT base pg_snapshot, OUT batch pg_snapshot, OUT id bigint) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION rowcast.parse_bookmark(p_bookmark text, OUT history text, OUT base pg_snapshot, OUT batch pg_snapshot, OUT id bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.parse_bookmark(p_bookmark text, OUT history text, OUT base pg_snapshot, OUT batch pg_snapshot, OUT id bigint) IS 'Takes a bookmark apart; SQLSTATE RC001 if it is none.';

CREATE FUNCTION rowcast.part_way(p_from pg_snapshot, p_bytes bigint) RETURNS pg_snapshot
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return (
    with found as (
      select e.xid, e.id, e.data from rowcast.event e where e.xid >= pg_snapshot_xmax(p_from)
      union all
      select e.xid, e.id, e.data from rowcast.event e
      where e.xid = any (array(
        select x from pg_snapshot_xip(p_from) x
        where pg_visible_in_snapshot(x, pg_current_snapshot())
      ))
    ),
    ended as (
      select
        f.xid::text::bigint as xid,
        max(f.id) as last,
        sum(pg_column_size(f.data) + 200) as bytes
      from found f
      group by f.xid
    ),
    counted as (
      select e.xid, sum(e.bytes) over (order by e.last) - e.bytes < p_bytes as near
      from ended e
    ),
    here as (
      select greatest(max(c.xid) + 1, pg_snapshot_xmax(p_from)::text::bigint) as xmax
      from counted c
      where c.near
    ),
    running as (
      select c.xid from counted c where not c.near
      union all
      select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x
    )
    select format(
      '%s:%s:%s',
      coalesce(min(r.xid), h.xmax),
      h.xmax,
      string_agg(r.xid::text, ',' order by r.xid)
    )::pg_snapshot
    from here h
    left join running r on r.xid < h.xmax
    where exists (select from counted c where not c.near)
    group by h.xmax
  );
end
$$;

ALTER FUNCTION rowcast.part_way(p_from pg_snapshot, p_bytes bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.part_way(p_from pg_snapshot, p_bytes bigint) IS 'A place on the way from a snapshot to now that so many bytes of events lead to; null: it is now.';

CREATE FUNCTION rowcast.plan_query(p_query text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_plan json;
begin
  perform rowcast.check_owner();
  -- A loop takes one statement, where EXECUTE would run several.
  for v_plan in execute 'explain (format json, costs off) ' || p_query loop
    return v_plan -> 0 -> 'Plan';
  end loop;
end
$$;

ALTER FUNCTION rowcast.plan_query(p_query text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.plan_query(p_query text) IS 'The plan of an attached query as rowcast_owner gets it; SQLSTATE 42501 if it may not run it.';

CREATE FUNCTION rowcast.read_log(p_from pg_snapshot, p_to pg_snapshot DEFAULT NULL::pg_snapshot, p_after bigint DEFAULT NULL::bigint, p_rooms text[] DEFAULT NULL::text[], p_limit bigint DEFAULT NULL::bigint, p_equals boolean DEFAULT false) RETURNS TABLE(id bigint, xid xid8, at timestamp with time zone, channel text, name text, rooms text[], data json, failed boolean, state bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
  v_utf8 constant boolean := getdatabaseencoding() = 'UTF8';
  v_to pg_snapshot := coalesce(p_to, pg_current_snapshot());
  v_rooms jsonb := (select jsonb_object_agg(r, null) from unnest(p_rooms) r where r is not null);
begin
  perform rowcast.check_horizon(p_from);
  return query
  with found as (
    select e.* from rowcast.event e
    where e.xid >= pg_snapshot_xmax(p_from) and e.xid < pg_snapshot_xmax(v_to)
    union all
    select e.* from rowcast.event e
    where e.xid = any (array(
      select x from pg_snapshot_xip(p_from) x where pg_visible_in_snapshot(x, v_to)
    ))
  ),
  listed as (
    select f.*,
      v_utf8 or rowcast.has_utf8(concat(f.channel, f.name, f.rooms, f.data, f.render)) as fits
    from found f
    where pg_visible_in_snapshot(f.xid, v_to)
      and (p_after is null or f.id > p_after)
      and (p_rooms is null or v_rooms ?| f.rooms)
      and f.channel <> all (array(select c.name from rowcast.channel c where c.paused))
    order by f.id
    limit p_limit
  ),
  wanted as (
    select l.id, l.xid, l.at,
      case when l.fits then l.channel else 'rowcast' end as channel,
      case when l.fits then l.name else 'rowcast:gap' end as name,
      case when l.fits then l.rooms
        else array(select r from unnest(l.rooms) r where rowcast.has_utf8(r)) end as rooms,
      case when l.fits then l.data else '{"reason":"trigger"}' end as data,
      case when l.fits then l.render end as render
    from listed l
  ),
  -- Where the limit cut, everything is returned as it is: the caller has to see that it did.
  cut as (
    select p_limit is not null and count(*) >= p_limit as off from wanted
  ),
  stated as (
    select s.*, max(s.id) over (partition by s.state) as last
    from (
      select w.*, rowcast.state_key(w.data) as key,
        ('x' || encode(substr(sha256(convert_to(
          row(w.render, w.data::text, w.channel, w.name, w.rooms)::text, getdatabaseencoding()
        )), 1, 8), 'hex'))::bit(64)::bigint as state
      from wanted w
      where w.render is not null
    ) s
  ),
  asked as (
    select render, array_agg(distinct key) as keys from stated where key is not null group by render
  ),
  -- Once for all: inlined, it would be rendered anew for each row of a large batch.
  rendered as materialized (
    select a.render, r.key, r.data, r.failed
    from asked a cross join lateral rowcast.render(a.render, a.keys) r
  )
  select w.id, w.xid, w.at, w.channel, w.name, w.rooms, w.data, false, null::bigint
  from wanted w
  where w.render is null
  union all
  -- A full join, with a condition that does not give away that a left one would do: of a young log
  -- the planner expects a handful of rows, and would compare each with each in a nested loop.
  select s.id, s.xid, s.at, s.channel, s.name, s.rooms, r.data,
    coalesce(r.failed, s.key is null), s.state
  from stated s
  full join rendered r on r.render = s.render and r.key = s.key
  where coalesce(s.id, 0) <> 0
    and (
      (p_equals or s.id = s.last)
      and (r.key is not null or s.key is null)
      or (select off from cut)
    )
  order by 1;

  perform rowcast.check_horizon(p_from);
end
$$;

ALTER FUNCTION rowcast.read_log(p_from pg_snapshot, p_to pg_snapshot, p_after bigint, p_rooms text[], p_limit bigint, p_equals boolean) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.read_log(p_from pg_snapshot, p_to pg_snapshot, p_after bigint, p_rooms text[], p_limit bigint, p_equals boolean) IS 'Events visible in p_to (or now) and not in p_from; SQLSTATE RC007 if some were forgotten.';

CREATE FUNCTION rowcast.reader_place(p_sub text, p_name text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select r.bookmark
  from rowcast.reader r, rowcast.setting s
  where r.sub = p_sub and r.name = p_name and r.at >= clock_timestamp() - s.reader_keep
$$;

ALTER FUNCTION rowcast.reader_place(p_sub text, p_name text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.reader_place(p_sub text, p_name text) IS 'The bookmark from which a durable reader resumes; null if it is not known.';

CREATE FUNCTION rowcast.recheck() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update rowcast.setting
  set access_version = access_version + 1, rules_version = access_version + 1
$$;

ALTER FUNCTION rowcast.recheck() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.recheck() IS 'Every connection is admitted anew, on every node, as soon as this is committed.';

CREATE FUNCTION rowcast.recheck_at_commit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $$
declare
  v_transaction text := pg_current_xact_id()::text;
begin
  if current_setting('rowcast.rechecked', true) is distinct from v_transaction then
    perform rowcast.recheck();
    perform set_config('rowcast.rechecked', v_transaction, true);
  end if;
  return null;
exception
  when serialization_failure or deadlock_detected or lock_not_available then
    insert into rowcast.recheck_due default values;
    perform set_config('rowcast.rechecked', v_transaction, true);
    return null;
  when others then
    perform rowcast.warn(format('rowcast: nobody is asked for again: %s (%s)', sqlerrm, sqlstate));
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (
      tg_table_name, tg_table_schema || '.' || tg_table_name, lower(tg_op), sqlstate,
      left(sqlerrm, 2000), 'rowcast.recheck_at_commit'
    );
    return null;
end
$$;

ALTER FUNCTION rowcast.recheck_at_commit() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.recheck_at_commit() IS 'Trigger function: every connection is admitted anew when what changed here is committed.';

CREATE FUNCTION rowcast.record_failure(p_channel text, p_relation text, p_operation text, p_sqlstate text, p_message text, p_context text, p_concerned rowcast.concern[] DEFAULT NULL::rowcast.concern[], p_guarded boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_gap constant json := '{"reason":"trigger"}';
  v_concerned rowcast.concern[];
  -- Both may quote a value of any size. Whoever writes may have another encoding, and the console
  -- has.
  v_message constant text := case when rowcast.has_utf8(p_message) then left(p_message, 2000)
    else 'a message that has no form in UTF-8' end;
  v_context constant text := left(p_context, 2000);
begin
  -- Not the message: it may quote tables that the query reads, and whoever writes may not.
  perform rowcast.warn(format(
    'rowcast: events of %s on %s are lost, the write itself went through: see rowcast.failure (%s)',
    p_operation, p_relation, p_sqlstate
  ));
  -- The failure may be that a room or a channel is none: those nobody can be told of.
  v_concerned := array(
    select row(
      case when octet_length(c.channel) between 1 and 200 and not rowcast.has_control(c.channel)
        and rowcast.has_utf8(c.channel) then c.channel else p_channel end,
      c.room
    )::rowcast.concern
    from unnest(p_concerned) c
    where octet_length(c.room) <= 32768 and not rowcast.has_control(c.room)
      and rowcast.has_utf8(c.room)
  );
  if cardinality(v_concerned) = 0 then
    v_concerned := array[row(p_channel, '*')::rowcast.concern];
  end if;

  if not p_guarded then
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (p_channel, p_relation, p_operation, p_sqlstate, v_message, v_context);
    perform rowcast.tell_rooms('rowcast:gap', v_gap, v_concerned);
    return;
  end if;
  begin
    insert into rowcast.failure (channel, relation, operation, sqlstate, message, context)
    values (p_channel, p_relation, p_operation, p_sqlstate, v_message, v_context);
  exception
    when others then
      perform rowcast.warn(format(
        'rowcast: and rowcast.failure could not be written: %s', sqlerrm
      ));
  end;
  begin
    perform rowcast.tell_rooms('rowcast:gap', v_gap, v_concerned);
  exception
    when others then
      perform rowcast.warn(format(
        'rowcast: and the gap could not be written, so that everybody is told of one: %s', sqlerrm
      ));
      insert into rowcast.history_break default values;
      perform rowcast.wake();
  end;
end
$$;

ALTER FUNCTION rowcast.record_failure(p_channel text, p_relation text, p_operation text, p_sqlstate text, p_message text, p_context text, p_concerned rowcast.concern[], p_guarded boolean) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.record_failure(p_channel text, p_relation text, p_operation text, p_sqlstate text, p_message text, p_context text, p_concerned rowcast.concern[], p_guarded boolean) IS 'Records that a lossy trigger lost events, and tells the rooms concerned of a gap.';

CREATE FUNCTION rowcast.refuse_write(p_relation text, p_operation text, p_sqlstate text, p_message text, p_detail text, p_hint text, p_context text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION rowcast.refuse_write(p_relation text, p_operation text, p_sqlstate text, p_message text, p_detail text, p_hint text, p_context text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.refuse_write(p_relation text, p_operation text, p_sqlstate text, p_message text, p_detail text, p_hint text, p_context text) IS 'Raises the error of a strict trigger, with where it comes from.';

CREATE FUNCTION rowcast.remembers(p_from pg_snapshot) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_horizon bigint := pg_sequence_last_value('rowcast.horizon'::regclass);
  v_truncation bigint := pg_sequence_last_value('rowcast.truncation'::regclass);
begin
  if v_horizon is null or pg_snapshot_xmin(p_from)::text::bigint >= v_horizon then
    return true;
  end if;
  return exists (
    select from rowcast.forgotten f
    where f.truncation >= v_truncation and rowcast.is_subset(f.seen, p_from)
  );
end
$$;

ALTER FUNCTION rowcast.remembers(p_from pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.remembers(p_from pg_snapshot) IS 'Whether all that the log has forgotten is visible in this snapshot; to be asked after a scan.';

CREATE FUNCTION rowcast.render(p_function text, p_keys jsonb[]) RETURNS TABLE(key jsonb, data json, failed boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $_$
declare
  v_function regprocedure;
  v_keys jsonb[];
  v_data json[];
begin
  perform rowcast.check_owner();
  v_function := to_regprocedure(p_function || '(jsonb[])');
  if v_function is null then
    raise exception using errcode = 'RC006',
      message = format('there is no function %s(jsonb[]) to render with', p_function);
  end if;
  execute format(
    'select array_agg(r.key), array_agg(r.data) from %s($1) as r (key, data)',
    v_function::oid::regproc
  ) into v_keys, v_data using p_keys;
  perform rowcast.check_rewrites();
  if getdatabaseencoding() <> 'UTF8' then
    perform convert_to(d::text, 'UTF8') from unnest(v_data) d;
  end if;
  return query select k, d, false from unnest(v_keys, v_data) as a (k, d);
exception
  when others or assert_failure then
    raise warning 'rowcast: rendering with % failed: %', p_function,
      case when rowcast.has_utf8(sqlerrm) then sqlerrm else sqlstate end;
    return query select k, null::json, true from unnest(p_keys) k;
end
$_$;

ALTER FUNCTION rowcast.render(p_function text, p_keys jsonb[]) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.render(p_function text, p_keys jsonb[]) IS 'State events: payloads for keys, in the snapshot of the batch.';

CREATE FUNCTION rowcast.resolve_for_writer() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
  v_column pg_catalog.text;
  v_text pg_catalog.text;
  v_function pg_catalog.regprocedure;
begin
  foreach v_column in array tg_argv loop
    v_text := pg_catalog.to_jsonb(new) operator(pg_catalog.->>) v_column;
    begin
      v_function := v_text;
    exception
      when data_exception or syntax_error_or_access_rule_violation or invalid_schema_name then
        raise exception using errcode = 'RC003',
          message = pg_catalog.format('rowcast.%s.%s can''t be %L: %s',
            tg_table_name, v_column, v_text, sqlerrm),
          hint = 'Write the function''s name and the types of its arguments, each with its schema: '
            '''shop.may_join(jsonb, text)''.';
    end;
    new := pg_catalog.jsonb_populate_record(new, pg_catalog.jsonb_build_object(
      v_column, v_function::pg_catalog.oid::pg_catalog.text));
  end loop;
  return new;
end
$$;

ALTER FUNCTION rowcast.resolve_for_writer() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.resolve_for_writer() IS 'Finds the functions of a row by the search_path of whoever writes it; SQLSTATE RC003.';

CREATE FUNCTION rowcast.restore(p_user text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with gone as (delete from rowcast.revocation where sub = p_user returning sub)
  select exists (select from gone)
$$;

ALTER FUNCTION rowcast.restore(p_user text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.restore(p_user text) IS 'Takes back what rowcast.revoke did.';

CREATE FUNCTION rowcast.revoke(p_user text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  -- Not before, whatever the caller has said of all constraints.
  set constraints rowcast._800_rowcast_access deferred;
  -- Setting sub to itself is what tells the trigger, which counts and takes the time at the commit.
  -- A name that has no form in UTF-8 is in no claims, and no listener could be told of it.
  insert into rowcast.revocation (sub)
  select p_user where rowcast.has_utf8(p_user)
  on conflict on constraint revocation_pkey do update set sub = excluded.sub
$$;

ALTER FUNCTION rowcast.revoke(p_user text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.revoke(p_user text) IS 'Ends all connections of this user (claim sub); only tokens issued later are accepted.';

CREATE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if tg_table_name <> 'event' then
    -- What a DBA changed, or who may hear what: rare.
    if exists (select from rowcast.channel where delivery = 'announce') then
      perform setval('rowcast.announcing', 1);
    end if;
    -- NOTIFY makes PREPARE TRANSACTION fail, and a sign-out or a revocation writes to setting:
    -- where something may be prepared, the next look reads it, as it does at any time.
    if tg_table_name <> 'setting' or current_setting('max_prepared_transactions')::integer = 0 then
      perform rowcast.tell_listeners(tg_table_name);
    end if;
    return null;
  end if;
  if not exists (select from new_events) then
    return null;
  end if;
  perform rowcast.wake();
  if pg_sequence_last_value('rowcast.announcing'::regclass) = 1 then
    -- Above 7,999 bytes NOTIFY would abort the application's write: the id is enough to ask for it.
    perform pg_notify(e.channel, case
      when octet_length(b.body) <= 7999 then b.body
      else json_build_object('id', e.id::text)::text
    end)
    from new_events e
    join rowcast.channel c on c.name = e.channel and c.delivery = 'announce'
    cross join lateral (
      select json_build_object(
        'id', e.id::text, 'name', e.name, 'rooms', e.rooms, 'data', e.data
      )::text as body
    ) b
    where not rowcast.notify_queue_is_filling();
  end if;
  return null;
end
$$;

ALTER FUNCTION rowcast.ring() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.ring() IS 'Wakes the listener if it sleeps, and announces events of channels with delivery announce to others.';

CREATE FUNCTION rowcast.rotate_log(p_read pg_snapshot DEFAULT NULL::pg_snapshot, OUT moved boolean, OUT forgotten integer, OUT refused integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
  v_last bigint := coalesce(pg_sequence_last_value('rowcast.event_id_seq'::regclass), 1);
  v_turn bigint := v_last >> 20;
  v_left bigint := v_turn % 6;
  v_setting rowcast.setting;
  v_other record;
  v_due boolean;
  v_over boolean;
  v_spare integer;
begin
  moved := false;
  refused := 0;
  -- One at a time, and not while a history begins. An advisory lock would be anybody's to hold.
  lock table rowcast.history_mark in share update exclusive mode nowait;
  perform rowcast.tend_log(v_last);
  select * into v_setting from rowcast.setting;
  v_due := rowcast.leaf_is_full(v_last, v_setting.keep_bytes / 5)
    or pg_relation_size(format('rowcast.event_%s', v_turn % 6)) > 0 and exists (
      select from rowcast.leaf
      where turn = v_turn and entered_at < clock_timestamp() - v_setting.keep_for / 4
    );
  v_spare := rowcast.spare_leaf(v_turn);
  if v_due and v_spare is not null then
    -- Three laps further. Writers go on drawing ids between these lines, and an id must never come
    -- twice: for that they would have to draw 18 million.
    v_turn := v_turn + 18 + v_spare;
    perform setval('rowcast.event_id_seq', v_turn << 20);
    perform rowcast.enter_leaf(v_turn);
    v_last := v_turn << 20;
    perform rowcast.tend_log(v_last);
    v_spare := rowcast.spare_leaf(v_turn);
    v_due := false;
    moved := true;
  end if;
  select bytes > v_setting.keep_bytes into v_over from rowcast.log_size();
  for v_other in
    select l.leaf, a.ahead, coalesce(
      l.left_at < clock_timestamp() - v_setting.keep_for, false
    ) as old
    from generate_series(1, 5) as a (ahead)
    join rowcast.leaf l on l.leaf = (v_turn + a.ahead) % 6
    where pg_relation_size(format('rowcast.event_%s', l.leaf)) > 0
    order by a.ahead
  loop
    -- In the last ids of a leaf writers are about to come to the next by themselves.
    continue when v_other.ahead = 1 and v_last & 1048575 > 983040
      or not (
        v_other.old
        or v_spare is null and (v_other.ahead = 1 or v_due)
        or v_over and v_other.leaf <> v_left
      );
    if rowcast.forget_leaf(v_other.leaf, p_read) then
      forgotten := v_other.leaf;
      update rowcast.leaf set refused_at = null
      where leaf = v_other.leaf and refused_at is not null;
      return;
    end if;
    refused := refused + 1;
    update rowcast.leaf set refused_at = clock_timestamp()
    where leaf = v_other.leaf and refused_at is null;
  end loop;
  -- Whoever held one may have let it go before it was due again.
  update rowcast.leaf set refused_at = null
  where refused = 0 and refused_at is not null and not rowcast.is_held(leaf);
exception
  -- Another rotation, or an administrator's lock on a whole leaf or on these books.
  when lock_not_available then
    refused := refused + 1;
end
$$;

ALTER FUNCTION rowcast.rotate_log(p_read pg_snapshot, OUT moved boolean, OUT forgotten integer, OUT refused integer) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.rotate_log(p_read pg_snapshot, OUT moved boolean, OUT forgotten integer, OUT refused integer) IS 'Keeps the log within keep_for and keep_bytes: whether it moved to another leaf, which leaf it emptied, and how many it could not, because somebody holds a lock.';

CREATE FUNCTION rowcast.rule_failed(p_kind text, p_rule text, p_sqlstate text, p_message text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format('the %s rule %s failed', p_kind, p_rule) || case p_sqlstate
    when 'RC006' then ': ' || p_message
    else format(' with SQLSTATE %s', p_sqlstate)
  end
$$;

ALTER FUNCTION rowcast.rule_failed(p_kind text, p_rule text, p_sqlstate text, p_message text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.rule_failed(p_kind text, p_rule text, p_sqlstate text, p_message text) IS 'Says that a rule failed, and nothing of what it was asked.';

CREATE FUNCTION rowcast.secure_function(p_function text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_grantee text;
begin
  execute format('alter function %s() owner to rowcast_owner', p_function);
  for v_grantee in
    select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
    from pg_proc p
    cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where p.oid = to_regprocedure(p_function || '()')
      and (a.grantee = 0 or not pg_has_role(a.grantee, 'rowcast_owner', 'member'))
  loop
    execute format('revoke all on function %s() from %s cascade', p_function, v_grantee);
  end loop;
  if not has_function_privilege(p_function || '()', 'execute') then
    execute format('grant execute on function %s() to %I', p_function, current_user);
  end if;
end
$$;

ALTER FUNCTION rowcast.secure_function(p_function text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.secure_function(p_function text) IS 'Makes a trigger function rowcast_owner''s, whatever default privileges say.';

CREATE FUNCTION rowcast.sent(p_value jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if jsonb_typeof(p_value) = 'array' then
    begin
      return convert_from(decode(p_value ->> 0, 'hex'), 'UTF8');
    exception
      when untranslatable_character or character_not_in_repertoire then
        return null;
    end;
  end if;
  return p_value #>> '{}';
end
$$;

ALTER FUNCTION rowcast.sent(p_value jsonb) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.sent(p_value jsonb) IS 'A text of a client''s that is spelled as JSON; null if the database can''t hold it.';

CREATE FUNCTION rowcast.session_claims(p_cookies jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_cookie text;
  v_rule text;
  v_claims jsonb;
begin
  perform rowcast.check_owner();
  for v_cookie, v_rule in
    select cookie, claims_of from rowcast.session_rule where p_cookies ? cookie order by cookie
  loop
    execute format('select %s($1)', coalesce(
      to_regprocedure(v_rule)::oid::regproc::text, rowcast.no_function(v_rule)
    )) into v_claims using p_cookies ->> v_cookie;
    -- Here it is known whose they are, if they can't be sent.
    perform convert_to(v_claims::text, 'UTF8');
    exit when v_claims is not null;
  end loop;
  return v_claims;
exception
  when others or assert_failure then
    raise exception using errcode = sqlstate,
      message = rowcast.rule_failed('session', v_rule, sqlstate, sqlerrm);
end
$_$;

ALTER FUNCTION rowcast.session_claims(p_cookies jsonb) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.session_claims(p_cookies jsonb) IS 'Claims for an application''s own session cookies, or null.';

CREATE FUNCTION rowcast.session_cookies() RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(array_agg(cookie order by cookie), '{}') from rowcast.session_rule
$$;

ALTER FUNCTION rowcast.session_cookies() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.session_cookies() IS 'Names of the cookies that rowcast.session_rule knows.';

CREATE FUNCTION rowcast.set_doorbell(p_mode text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if p_mode not in ('adaptive', 'always', 'never') then
    raise exception using errcode = 'RC003',
      message = format('there is no doorbell %L', p_mode),
      hint = 'adaptive: writers ring only while the listener sleeps. always: every write does. '
        'never: none does, the listener polls. null: as the service is configured.';
  end if;
  update rowcast.setting set doorbell = p_mode;
  if p_mode = 'never' then
    perform setval('rowcast.doorbell', 0);
  elsif p_mode = 'always' and not rowcast.is_led() then
    perform setval('rowcast.doorbell', 1);
  end if;
end
$$;

ALTER FUNCTION rowcast.set_doorbell(p_mode text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.set_doorbell(p_mode text) IS 'Switches the doorbell: adaptive, always, never, or null for the service''s own setting.';

CREATE FUNCTION rowcast.set_horizon(p_horizon bigint, p_seen pg_snapshot) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_before bigint := pg_sequence_last_value('rowcast.truncation'::regclass);
begin
  -- Not above the horizon, or no bookmark would reach it while nothing happens; and up to it, or a
  -- transaction that forgets events of its own would leave these out.
  update rowcast.forgotten
  set truncation = setval('rowcast.truncation', coalesce(v_before, 0) + 1), seen = format(
    '%s:%s:%s',
    least(pg_snapshot_xmin(p_seen)::text::bigint, p_horizon),
    p_horizon,
    (
      select string_agg(x::text, ',' order by x)
      from pg_snapshot_xip(p_seen) x where x::text::bigint < p_horizon
    )
  )::pg_snapshot;
  perform setval('rowcast.horizon', p_horizon);
end
$$;

ALTER FUNCTION rowcast.set_horizon(p_horizon bigint, p_seen pg_snapshot) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.set_horizon(p_horizon bigint, p_seen pg_snapshot) IS 'Writes the horizon, and the snapshot that sees all that lies behind it.';

CREATE FUNCTION rowcast.set_triggers(p_table regclass, p_operation text, p_function text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_leaf regclass;
  v_trigger record;
  v_locked boolean := false;
  v_name text := format('_900_rowcast_%s', p_operation);
begin
  for v_leaf in
    select b.relation from rowcast.tables_below(p_table) b join pg_class c on c.oid = b.relation
    where c.relkind in ('r', 'p') and not exists (
      select from pg_trigger where tgrelid = b.relation and tgname = v_name
        and tgfoid = to_regprocedure(p_function || '()')
    )
    order by b.depth, b.relation
  loop
    -- The table itself is the first that its writers lock, whichever of its leaves they come to.
    if not v_locked then
      execute format('lock table only %s in share row exclusive mode', p_table);
      v_locked := true;
    end if;
    execute format(
      'create or replace trigger %I after %s on %s %s for each statement execute function %s()',
      v_name, p_operation, v_leaf,
      case p_operation
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
        else ''
      end,
      p_function
    );
  end loop;
  for v_trigger in
    select t.tgname as name, t.tgrelid::regclass as relation from pg_trigger t
    where t.tgfoid = to_regprocedure(p_function || '()') and (
      t.tgname <> v_name or t.tgrelid <> p_table and not rowcast.is_below(t.tgrelid, p_table)
    )
    order by t.tgrelid
  loop
    execute format('drop trigger %I on %s', v_trigger.name, v_trigger.relation);
  end loop;
end
$$;

ALTER FUNCTION rowcast.set_triggers(p_table regclass, p_operation text, p_function text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.set_triggers(p_table regclass, p_operation text, p_function text) IS 'Creates the triggers of an attachment where they are missing, drops them where it is no more.';

CREATE FUNCTION rowcast.settings_for(p_query text, p_view regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive tree as (
    select r.oid, r.ev_action::text as nodes from pg_rewrite r where r.ev_class = p_view
  ),
  -- And what these are made of: whole rows of columns, ranges of bounds, arrays of elements.
  handled as (
    select m.type[1]::oid as type
    from tree
    cross join lateral regexp_matches(tree.nodes, ':[a-z]*type ([0-9]+)', 'g') m (type)
    union
    select p.type
    from handled h
    join pg_type t on t.oid = h.type
    cross join lateral (
      values (t.typelem), (t.typbasetype)
      union all
      select a.atttypid from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
      union all
      select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
    ) p (type)
  ),
  called as (
    select m.found[1]::oid as function
    from tree
    cross join lateral regexp_matches(
      tree.nodes, ':(?:funcid|aggfnoid|winfnoid) ([0-9]+)', 'g'
    ) m (found)
    union
    select o.oprcode
    from tree
    cross join lateral regexp_matches(tree.nodes, ':opno ([0-9]+)', 'g') m (found)
    join pg_operator o on o.oid = m.found[1]::oid
  ),
  read as (
    select d.refobjid as relation from tree
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = tree.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjid <> p_view
  ),
  written as (
    select from tree where strpos(tree.nodes, '{COERCEVIAIO') > 0
    union all
    -- Below 16384 are PostgreSQL's own.
    select from called c join pg_proc p on p.oid = c.function
    where p.oid >= 16384
      or p.prorettype = 'cstring'::regtype
      or p.prorettype = 'text'::regtype and exists (
        select from unnest(p.proargtypes) a (type) join pg_type t on t.oid = a.type
        where t.typtype = 'p'
      )
    union all
    select from read r join pg_class c on c.oid = r.relation where c.relkind = 'v'
    union all
    -- A range is text in JSON too.
    select from handled h join pg_range r on h.type in (r.rngtypid, r.rngmultitypid)
  )
  select coalesce(array_agg(format('(set %s)', s.setting) order by s.setting), '{}')
  from (values
    ('datestyle=iso', array['date', 'timestamp', 'timestamptz']::regtype[]),
    ('intervalstyle=postgres', array['interval']::regtype[]),
    ('bytea_output=hex', array['bytea']::regtype[]),
    ('extra_float_digits=1', array['float4', 'float8']::regtype[]),
    ('standard_conforming_strings=on', null),
    ('row_security=on', null)
  ) s (setting, types)
  where case
    -- Off, it makes a query over such a table an error. What a view reads is not known here.
    when s.setting like 'row_security%' then exists (
      select from read r join pg_class c on c.oid = r.relation
      where c.relrowsecurity or c.relkind = 'v'
    )
    -- What stands in dollars or behind an E is read alike in any session; U&'' is an error in some.
    when s.types is null then strpos(p_query, chr(92)) > 0 or p_query ~* 'u&'''
    else exists (select from handled h where h.type = any (s.types))
      and (s.setting not like 'datestyle%' or exists (select from written))
  end
$$;

ALTER FUNCTION rowcast.settings_for(p_query text, p_view regclass) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.settings_for(p_query text, p_view regclass) IS 'The settings that a trigger function is given, whose query is in this view.';

CREATE FUNCTION rowcast.settle_overdue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  delete from rowcast.overdue where xid = new.xid;
  perform rowcast.rotate_log();
  return null;
exception
  when others then
    perform rowcast.warn(format(
      'rowcast: the log could not be rotated: %s (%s)', sqlerrm, sqlstate
    ));
    return null;
end
$$;

ALTER FUNCTION rowcast.settle_overdue() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.settle_overdue() IS 'Rotates the log for want of a service.';

CREATE FUNCTION rowcast.spare_leaf(p_turn bigint) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select min(ahead) from generate_series(1, 5) ahead
  where pg_relation_size(format('rowcast.event_%s', (p_turn + ahead) % 6)) = 0
$$;

ALTER FUNCTION rowcast.spare_leaf(p_turn bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.spare_leaf(p_turn bigint) IS 'How far ahead the next empty leaf is, or null.';

CREATE FUNCTION rowcast.state_key(p_data json) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return p_data::jsonb;
exception
  when others then
    raise warning 'rowcast: the data of a state event can''t be a key: %', sqlerrm;
    return null;
end
$$;

ALTER FUNCTION rowcast.state_key(p_data json) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.state_key(p_data json) IS 'The key of a state event; null if its data is no jsonb.';

CREATE FUNCTION rowcast.tables_below(p_table regclass, OUT relation oid, OUT depth integer) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive below as (
    select p_table::oid as oid, 0 as depth
    union
    select i.inhrelid, b.depth + 1 from below b join pg_inherits i on i.inhparent = b.oid
  )
  select b.oid, max(b.depth) from below b group by b.oid
$$;

ALTER FUNCTION rowcast.tables_below(p_table regclass, OUT relation oid, OUT depth integer) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.tables_below(p_table regclass, OUT relation oid, OUT depth integer) IS 'A table, and the tables that hang below it, with their depth.';

CREATE FUNCTION rowcast.tell_listeners(p_word text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if pg_notification_queue_usage() >= 0.1 then
    perform setval('rowcast.doorbell', 0);
  else
    perform pg_notify('rowcast', p_word);
  end if;
end
$$;

ALTER FUNCTION rowcast.tell_listeners(p_word text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.tell_listeners(p_word text) IS 'Notifies the listeners of a word, or silences writers where NOTIFY''s queue fills up.';

CREATE FUNCTION rowcast.tell_rooms(p_name text, p_data json, p_concerned rowcast.concern[]) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  insert into rowcast.event (channel, name, rooms, data)
  select t.channel, rowcast.checked_name(t.channel, p_name, t.rooms, p_data), t.rooms, p_data
  from (
    select p.channel, p.part, array_agg(p.room order by p.room) as rooms
    from (
      select c.channel, c.room, sum(octet_length(c.room)) over (
        partition by c.channel order by c.room rows unbounded preceding
      ) / 32768 as part
      from (select distinct channel, room from unnest(p_concerned)) c
    ) p
    group by p.channel, p.part
  ) t
  order by t.channel, t.part
$$;

ALTER FUNCTION rowcast.tell_rooms(p_name text, p_data json, p_concerned rowcast.concern[]) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.tell_rooms(p_name text, p_data json, p_concerned rowcast.concern[]) IS 'Writes an event of this name and data for all these rooms.';

CREATE FUNCTION rowcast.tend_log(p_last bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_turn bigint := p_last >> 20;
  v_before bigint;
begin
  select turn into v_before from rowcast.leaf where turn is not null and left_at is null;
  if v_before is distinct from v_turn then
    -- Every leaf on the way was left just now, as far as anybody knows: rather keep it too long.
    update rowcast.leaf set turn = t, left_at = clock_timestamp()
    from generate_series(greatest(coalesce(v_before, 0), v_turn - 5), v_turn - 1) t
    where leaf = t % 6;
    perform rowcast.enter_leaf(v_turn);
  end if;
  -- A clock that was ahead, by years perhaps, and was set back: what it said counts from now on.
  update rowcast.leaf
  set entered_at = least(entered_at, clock_timestamp()),
    left_at = case when left_at is not null then least(left_at, clock_timestamp()) end
  where greatest(entered_at, left_at) > clock_timestamp();
  if pg_sequence_last_value('rowcast.bound'::regclass) < p_last + 2048 then
    perform setval('rowcast.bound', p_last + 4096);
  end if;
  if current_setting('transaction_isolation') = 'read committed' and exists (
    select from rowcast.forgotten
    where truncation < pg_sequence_last_value('rowcast.truncation'::regclass)
  ) then
    perform rowcast.set_horizon(
      coalesce(pg_sequence_last_value('rowcast.horizon'::regclass), 1),
      pg_current_snapshot()
    );
  end if;
  if current_setting('transaction_isolation') = 'read committed'
    and exists (select from rowcast.recheck_due)
  then
    -- Whoever else counts just now is not waited for: next time.
    perform from rowcast.setting for no key update skip locked;
    if found then
      delete from rowcast.recheck_due;
      perform rowcast.recheck();
    end if;
  end if;
  -- About once a minute is enough, and this is called once a second. Not at an old snapshot.
  if random() < 0.02 and current_setting('transaction_isolation') = 'read committed' then
    perform rowcast.forget_readers();
  end if;
  perform rowcast.forget_failures();
end
$$;

ALTER FUNCTION rowcast.tend_log(p_last bigint) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.tend_log(p_last bigint) IS 'Keeps the books of rowcast.rotate_log().';

CREATE FUNCTION rowcast.trigger_function_name(p_table regclass, p_operation text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with full_name as (
    select format('%s.%s %s', n.nspname, c.relname, p_operation) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = p_table
  ),
  candidate as (
    select 1 as place, function_name as name
    from rowcast.attached where relation = p_table and operation = p_operation
    union all
    select 2, 'rowcast.' || quote_ident(name) from full_name where octet_length(name) <= 63
    union all
    -- Too long for a name, or another's: a readable head, and a tail that keeps it apart.
    select t.place, 'rowcast.' || quote_ident((
      -- 63 bytes less the tail, and no character cut in two.
      select left(f.name, max(n)) from generate_series(1, 50) n
      where octet_length(left(f.name, n)) <= 50
    ) || ' ' || encode(substr(sha256(convert_to(t.apart, getdatabaseencoding())), 1, 6), 'hex'))
    from full_name f
    cross join lateral (
      values (3, f.name), (4, p_table::oid::text || ' ' || f.name)
    ) t (place, apart)
    where t.place = 4 or octet_length(f.name) > 63
  )
  select c.name from candidate c
  where not exists (
    select from rowcast.attached a
    where (a.relation::oid, a.operation) <> (p_table::oid, p_operation)
      -- As PostgreSQL reads it, which cuts names off.
      and (a.function_name = c.name
        or to_regprocedure(a.function_name || '()') = to_regprocedure(c.name || '()'))
  )
  order by c.place limit 1
$$;

ALTER FUNCTION rowcast.trigger_function_name(p_table regclass, p_operation text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.trigger_function_name(p_table regclass, p_operation text) IS 'Name of the trigger function for a table and an operation: the one it has, or a free one.';

CREATE FUNCTION rowcast.trigger_source(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer, p_columns text[], p_channel text, p_function text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_rows text := case p_operation when 'delete' then 'old_rows' else 'new_rows' end;
  v_plain boolean := '(plain)' = any (p_columns) or p_operation = 'truncate';
  v_numerous text := format('exists (select from %s offset 100)', v_rows);
  v_told text := quote_literal(p_function || ' ') || ' || last_value';
  v_settings text := (
    select string_agg(substr(c, 2, length(c) - 2), ' ')
    from unnest(p_columns) c
    where c like '(set %'
  );
begin
  return rowcast.fill_in(rowcast.trigger_template(), jsonb_build_object(
    'function', p_function,
    'settings', coalesce(' ' || v_settings, ''),
    'noted', coalesce('-- ' || v_settings || e'\n', ''),
    'selected', rowcast.event_rows(p_query, p_columns, p_channel),
    'limit', coalesce(' limit ' || (p_reset_above::bigint + 1)::text, ''),
    -- Looked at once, before the query: it is not even begun for no rows.
    'few', case when v_plain then '' else format(
      e'\n      and exists (select from %s) and not %s', v_rows, v_numerous
    ) end,
    'none', case when v_plain then 'return null;' else format(
      'if not %s then
          return null;
        end if;',
      v_numerous
    ) end,
    'exists', case when v_plain then 'true' else format('exists (select from %s)', v_rows) end,
    'numerous', case when v_plain then 'false' else v_numerous end,
    'usual', 'v_count ' || coalesce('between 1 and ' || p_reset_above::text, '> 0'),
    'above', case when p_reset_above is null then '' else format(
      'if v_count > %1$s then
      v_above := true;
      raise exception ''more than %1$s events'';
    end if;',
      p_reset_above
    ) end,
    'reset', quote_literal(
      json_build_object('table', p_table::text, 'operation', p_operation)::text
    ),
    -- TRUNCATE of a parent fires this for every table that it empties: once is enough, unless
    -- somebody has told something since: who told last, and the number of the event.
    'guard', case when p_operation = 'truncate' then format(
      'if current_setting(''rowcast.told'', true) = (select %s from rowcast.event_id_seq) then
    return null;
  end if;',
      v_told
    ) else '' end,
    'done', case when p_operation = 'truncate' then format(
      'perform set_config(''rowcast.told'', %s, true) from rowcast.event_id_seq;', v_told
    ) else '' end,
    -- The table as it is called then, which may have been renamed since.
    'failed', case p_mode
      when 'strict' then format(
        'perform rowcast.refuse_write(
    tg_relid::regclass::text, %L, v_state, v_message, v_detail, v_hint, v_context
  );',
        p_operation
      )
      else format(
        'perform rowcast.record_failure(
    %L, tg_relid::regclass::text, %L, v_state, v_message, v_context, v_concerned, v_guarded
  );',
        p_channel, p_operation
      )
    end
  ));
end
$_$;

ALTER FUNCTION rowcast.trigger_source(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer, p_columns text[], p_channel text, p_function text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.trigger_source(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer, p_columns text[], p_channel text, p_function text) IS 'The create function statement that rowcast.attach runs; shown by `rowcast triggers apply --dry-run`.';

CREATE FUNCTION rowcast.trigger_template() RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select $source$
create or replace function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp{settings}
as $body$
#variable_conflict use_column
{noted}declare
  v_spent text;
  v_guarded boolean;
  v_count bigint;
  v_events rowcast.emission[];
  v_above boolean;
  v_state text;
  v_message text;
  v_detail text;
  v_hint text;
  v_context text;
  v_concerned rowcast.concern[];
  v_selected constant text := $query$
    {selected}
  $query$;
begin
  {guard}
  begin
    if length(coalesce(current_setting('rowcast.guarded', true), '')) < 8
      and pg_sequence_last_value('rowcast.announcing'::regclass) is distinct from 1
    then
      insert into rowcast.log (channel, name, rooms, data, render)
    {selected}{few}{limit};
      get diagnostics v_count = row_count;
      -- What nearly every write comes to: nobody to wake, and nothing to count.
      if {usual}
        and pg_sequence_last_value('rowcast.doorbell'::regclass) is distinct from 1
        and currval('rowcast.event_id_seq'::regclass) & 255 >= v_count
        and clock_timestamp() - now() between '0' and '500 us'
      then
        {done}
        return null;
      end if;
      if v_count = 0 then
        {none}
      end if;
    end if;

    v_spent := coalesce(current_setting('rowcast.guarded', true), '');
    if length(v_spent) < 8 then
      if v_count > 0 then
        {above}
        perform rowcast.wake();
      else
        if {exists} then
          execute 'insert into rowcast.event (channel, name, rooms, data, render) '
            || v_selected || '{limit}';
          get diagnostics v_count = row_count;
          {above}
        end if;
      end if;
      if v_count > 0 then
        v_spent := set_config('rowcast.guarded', v_spent || 'x', true);
        {done}
      end if;
      return null;
    end if;

    v_events := array(select row(s.*)::rowcast.emission from (
    {selected}{few}{limit}
      ) s);
    v_count := cardinality(v_events);
    if v_count = 0 then
      if {numerous} then
        execute 'select array(select row(s.*)::rowcast.emission from ('
          || v_selected || '{limit}) s)' into v_events;
        v_count := cardinality(v_events);
      end if;
    end if;
    {above}
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
        v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_context = pg_exception_context;
  end;
  if v_state is null then
    if v_count > 0 then
      insert into rowcast.event (channel, name, rooms, data, render)
      select e.channel, e.name, e.rooms, e.data, e.render from unnest(v_events) e;
      {done}
    end if;
    return null;
  end if;

  v_spent := coalesce(current_setting('rowcast.guarded', true), '');
  v_guarded := length(v_spent) < 8;
  if v_guarded then
    v_spent := set_config('rowcast.guarded', v_spent || 'x', true);
  end if;
  begin
    -- Names and data are not asked for, so PostgreSQL does not compute them.
    execute 'select array(select row(d.channel, d.room)::rowcast.concern from ('
      'select distinct s.channel, r.room from (' || v_selected
      || ') s cross join lateral unnest(s.rooms) r (room)) d)' into v_concerned;
    if v_above and v_guarded then
      perform rowcast.tell_rooms('reset', {reset}, v_concerned);
      {done}
      return null;
    end if;
  exception
    when others then
      if v_above then
        get stacked diagnostics v_state = returned_sqlstate, v_message = message_text,
          v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_context = pg_exception_context;
      end if;
  end;
  if v_above and not v_guarded and v_concerned is not null then
    perform rowcast.tell_rooms('reset', {reset}, v_concerned);
    {done}
    return null;
  end if;
  {failed}
  return null;
end
$body$
$source$
$_$;

ALTER FUNCTION rowcast.trigger_template() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.trigger_template() IS 'The trigger function round an attached query, before rowcast.trigger_source fills it in.';

CREATE FUNCTION rowcast.unpause() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_let_go boolean;
begin
  if tg_op = 'TRUNCATE' then
    v_let_go := exists (select from rowcast.channel where paused);
  else
    v_let_go := old.paused and (tg_op = 'DELETE' or not new.paused or new.name <> old.name);
  end if;
  if v_let_go then
    insert into rowcast.event (channel, name, rooms, data)
    values ('rowcast', 'rowcast:gap', array['*'], '{"reason":"paused"}');
  end if;
  return null;
end
$$;

ALTER FUNCTION rowcast.unpause() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.unpause() IS 'Tells everybody of a gap when a paused channel is let go.';

CREATE FUNCTION rowcast.wake() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if pg_sequence_last_value('rowcast.doorbell'::regclass) = 1 then
    perform rowcast.tell_listeners(pg_current_xact_id()::text);
  end if;
  -- One in thousands looks whether anybody keeps the log within its bounds.
  if pg_sequence_last_value('rowcast.event_id_seq'::regclass)
      >= pg_sequence_last_value('rowcast.bound'::regclass) then
    perform rowcast.bound_log();
  end if;
end
$$;

ALTER FUNCTION rowcast.wake() OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.wake() IS 'Wakes the listener if it sleeps; has the log bounded where nobody else does.';

CREATE FUNCTION rowcast.warn(p_message text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  begin
    raise warning '%', p_message;
  exception
    when others then
      raise warning '%', regexp_replace(p_message collate "C", '[^ -~]', '?', 'g');
  end;
exception
  when others then
    null;
end
$$;

ALTER FUNCTION rowcast.warn(p_message text) OWNER TO rowcast_owner;

COMMENT ON FUNCTION rowcast.warn(p_message text) IS 'Raises a warning, in ASCII or in the server''s log alone where the session has no better.';

CREATE SEQUENCE rowcast.announcing
    AS smallint
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 1
    CACHE 1;

ALTER TABLE rowcast.announcing OWNER TO rowcast_owner;

CREATE TABLE rowcast.attached (
    relation regclass NOT NULL,
    operation text NOT NULL,
    mode text NOT NULL,
    query text NOT NULL,
    function_name text NOT NULL,
    reset_above integer,
    CONSTRAINT attached_mode CHECK ((mode = ANY (ARRAY['lossy'::text, 'strict'::text]))),
    CONSTRAINT attached_operation CHECK ((operation = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text, 'truncate'::text]))),
    CONSTRAINT attached_reset_above CHECK ((reset_above >= 0))
);

ALTER TABLE rowcast.attached OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.attached IS 'What rowcast.attach was told; read it through rowcast.attachment.';

COMMENT ON COLUMN rowcast.attached.reset_above IS 'A statement with more events than this tells one event `reset` per room instead; null: never.';

CREATE VIEW rowcast.attachment AS
 WITH RECURSIVE below AS (
         SELECT (a.relation)::oid AS root,
            (a.relation)::oid AS oid
           FROM rowcast.attached a
        UNION
         SELECT b.root,
            i.inhrelid
           FROM (below b
             JOIN pg_inherits i ON ((i.inhparent = b.oid)))
        )
 SELECT a.relation AS root,
    (b.oid)::regclass AS relation,
    a.operation,
    a.mode,
    a.query,
    a.function_name,
        CASE
            WHEN (c.oid IS NULL) THEN 'table dropped'::text
            WHEN (c.relkind = 'f'::"char") THEN 'foreign table'::text
            WHEN (t.oid IS NULL) THEN 'missing'::text
            WHEN (t.tgenabled <> ALL (ARRAY['O'::"char", 'A'::"char"])) THEN 'disabled'::text
            WHEN ((a.operation = 'update'::text) AND (NOT (EXISTS ( SELECT
               FROM pg_index i
              WHERE ((i.indrelid = b.oid) AND (i.indisprimary OR i.indisunique)))))) THEN 'no primary key'::text
            ELSE 'ok'::text
        END AS state,
    a.reset_above
   FROM (((rowcast.attached a
     JOIN below b ON ((b.root = (a.relation)::oid)))
     LEFT JOIN pg_class c ON ((c.oid = b.oid)))
     LEFT JOIN pg_trigger t ON (((t.tgrelid = b.oid) AND (t.tgname = ('_900_rowcast_'::text || a.operation)) AND (t.tgfoid = (to_regprocedure((a.function_name || '()'::text)))::oid))))
  WHERE ((c.oid IS NULL) OR (c.relkind = ANY (ARRAY['r'::"char", 'p'::"char"])) OR ((c.relkind = 'f'::"char") AND (a.operation <> 'truncate'::text)))
UNION ALL
 SELECT a.relation AS root,
    (l.oid)::regclass AS relation,
    a.operation,
    a.mode,
    a.query,
    a.function_name,
    'left behind'::text AS state,
    a.reset_above
   FROM (rowcast.attached a
     JOIN ( SELECT o.operation,
            t.tgfoid AS function,
            t.tgrelid AS oid
           FROM (rowcast.attached o
             JOIN pg_trigger t ON (((t.tgname = ('_900_rowcast_'::text || o.operation)) AND (t.tgfoid = (to_regprocedure((o.function_name || '()'::text)))::oid))))
        EXCEPT
         SELECT o.operation,
            to_regprocedure((o.function_name || '()'::text)) AS to_regprocedure,
            b.oid
           FROM (rowcast.attached o
             JOIN below b ON ((b.root = (o.relation)::oid)))) l ON (((l.operation = a.operation) AND (l.function = (to_regprocedure((a.function_name || '()'::text)))::oid))));

ALTER TABLE rowcast.attachment OWNER TO rowcast_owner;

COMMENT ON VIEW rowcast.attachment IS 'Attached queries, one row per table they should be on, and their state.';

CREATE SEQUENCE rowcast.bound
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE rowcast.bound OWNER TO rowcast_owner;

COMMENT ON SEQUENCE rowcast.bound IS 'Id from which the next writer calls rowcast.bound_log().';

CREATE TABLE rowcast.callable (
    name text NOT NULL,
    function text NOT NULL,
    may_call text,
    writes boolean DEFAULT false NOT NULL,
    timeout interval DEFAULT '00:00:02'::interval NOT NULL,
    max_rows integer DEFAULT 1000 NOT NULL,
    max_bytes integer DEFAULT 1048576 NOT NULL,
    CONSTRAINT callable_max_bytes CHECK ((max_bytes > 0)),
    CONSTRAINT callable_max_rows CHECK ((max_rows > 0)),
    CONSTRAINT callable_name CHECK ((name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$'::text)),
    CONSTRAINT callable_timeout CHECK (((timeout >= '00:00:00.001'::interval) AND (timeout <= '1 day'::interval)))
);

ALTER TABLE rowcast.callable OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.callable IS 'Functions that clients may call by name; what is not listed does not exist for them.';

COMMENT ON COLUMN rowcast.callable.name IS 'As callers know it: letters, digits and _ . -';

COMMENT ON COLUMN rowcast.callable.function IS 'Takes its arguments by name and runs as rowcast_owner, with the claims in request.jwt.claims.';

COMMENT ON COLUMN rowcast.callable.may_call IS 'Function (claims jsonb, name text) returns boolean; null: everybody whom the service lets in.';

COMMENT ON COLUMN rowcast.callable.writes IS 'Whether it may write; otherwise it can''t.';

COMMENT ON COLUMN rowcast.callable.timeout IS 'How long it may run; calls.timeout_ms of the service, where that is less.';

COMMENT ON COLUMN rowcast.callable.max_rows IS 'Of a set; more is an error, never cut short.';

COMMENT ON COLUMN rowcast.callable.max_bytes IS 'Of the answer as JSON; calls.result_bytes of the service, where that is less.';

CREATE TABLE rowcast.channel (
    name rowcast.name NOT NULL,
    delivery text DEFAULT 'log'::text NOT NULL,
    rooms text[],
    event text,
    paused boolean DEFAULT false NOT NULL,
    CONSTRAINT channel_delivery CHECK ((delivery = ANY (ARRAY['log'::text, 'announce'::text, 'notify'::text]))),
    CONSTRAINT channel_fits_listen CHECK (((delivery = 'log'::text) OR (octet_length((name)::text) <= 63))),
    CONSTRAINT channel_is_not_the_doorbell CHECK (((name)::text <> 'rowcast'::text)),
    CONSTRAINT channel_notify_needs_templates CHECK (((delivery <> 'notify'::text) OR ((cardinality(rooms) > 0) AND (event IS NOT NULL))))
);

ALTER TABLE rowcast.channel OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.channel IS 'How a channel is delivered. A channel without a row is delivered through the log.';

COMMENT ON COLUMN rowcast.channel.delivery IS 'log: through the event log. announce: the same, and NOTIFY for other programs. notify: pushes what existing triggers NOTIFY, at most once, without resume.';

COMMENT ON COLUMN rowcast.channel.rooms IS 'For notify: templates such as user:{userId}, filled from the fields of a JSON payload.';

COMMENT ON COLUMN rowcast.channel.event IS 'For notify: the event''s name or a template such as {type} or booking:{action}.';

COMMENT ON COLUMN rowcast.channel.paused IS 'Its events are held back; when it is let go, everybody is told of a gap.';

CREATE SEQUENCE rowcast.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE rowcast.event_id_seq OWNER TO rowcast_owner;

CREATE TABLE rowcast.event (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
PARTITION BY LIST ((((id >> 20) % (6)::bigint)));

ALTER TABLE rowcast.event OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.event IS 'The event log. To push an event is to insert a row here.';

COMMENT ON COLUMN rowcast.event.id IS 'For one row of the application, order of id is order of commit.';

COMMENT ON COLUMN rowcast.event.xid IS 'Top-level transaction, 64 bit; what a bookmark is compared with.';

COMMENT ON COLUMN rowcast.event.at IS 'Clock at the insert; for measuring, never for order.';

COMMENT ON COLUMN rowcast.event.channel IS 'Within the bounds of the domain rowcast.name.';

COMMENT ON COLUMN rowcast.event.name IS 'Within the bounds of the domain rowcast.name.';

COMMENT ON COLUMN rowcast.event.rooms IS 'Who may hear it; the room * is everybody who is connected. Within the bounds of rowcast.rooms.';

COMMENT ON COLUMN rowcast.event.data IS 'The payload, or the key of a state event. Within the bounds of rowcast.payload.';

COMMENT ON COLUMN rowcast.event.render IS 'A state event: the function (jsonb[]) returns table (key jsonb, data json) that turns keys into payloads when the log is read.';

CREATE TABLE rowcast.log (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
PARTITION BY LIST ((((id >> 20) % (6)::bigint)));

ALTER TABLE rowcast.log OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.log IS 'The leaves of rowcast.event, without its trigger: only for what rowcast.attach makes.';

COMMENT ON COLUMN rowcast.log.id IS 'For one row of the application, order of id is order of commit.';

COMMENT ON COLUMN rowcast.log.xid IS 'Top-level transaction, 64 bit; what a bookmark is compared with.';

COMMENT ON COLUMN rowcast.log.at IS 'Clock at the insert; for measuring, never for order.';

COMMENT ON COLUMN rowcast.log.channel IS 'Within the bounds of the domain rowcast.name.';

COMMENT ON COLUMN rowcast.log.name IS 'Within the bounds of the domain rowcast.name.';

COMMENT ON COLUMN rowcast.log.rooms IS 'Who may hear it; the room * is everybody who is connected. Within the bounds of rowcast.rooms.';

COMMENT ON COLUMN rowcast.log.data IS 'The payload, or the key of a state event. Within the bounds of rowcast.payload.';

COMMENT ON COLUMN rowcast.log.render IS 'A state event: the function (jsonb[]) returns table (key jsonb, data json) that turns keys into payloads when the log is read.';

CREATE VIEW rowcast.committed AS
 SELECT e.xid,
    e.id,
    e.at,
    e.channel,
    e.name,
    e.rooms,
    e.data,
    false AS failed,
    e.render,
    e.xmin AS written
   FROM rowcast.log e;

ALTER TABLE rowcast.committed OWNER TO rowcast_owner;

COMMENT ON VIEW rowcast.committed IS 'The log, to be asked for the events of one transaction.';

CREATE SEQUENCE rowcast.doorbell
    AS smallint
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 1
    CACHE 1;

ALTER TABLE rowcast.doorbell OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_0 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_0 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_0 OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_1 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_1 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_1 OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_2 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_2 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_2 OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_3 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_3 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_3 OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_4 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_4 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_4 OWNER TO rowcast_owner;

CREATE TABLE rowcast.event_5 (
    id bigint DEFAULT nextval('rowcast.event_id_seq'::regclass) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    name text NOT NULL,
    rooms text[] NOT NULL,
    data json,
    render text
)
WITH (autovacuum_enabled=off, toast.autovacuum_enabled=off);

ALTER TABLE ONLY rowcast.event_5 REPLICA IDENTITY FULL;

ALTER TABLE rowcast.event_5 OWNER TO rowcast_owner;

CREATE TABLE rowcast.failure (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    channel text NOT NULL,
    relation text NOT NULL,
    operation text NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL,
    context text
);

ALTER TABLE rowcast.failure OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.failure IS 'Errors of lossy triggers: the application''s write went through, its events are lost, and the rooms concerned were told of a gap.';

ALTER TABLE rowcast.failure ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowcast.failure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowcast.forgotten (
    truncation bigint NOT NULL,
    seen pg_snapshot NOT NULL
);

ALTER TABLE ONLY rowcast.forgotten REPLICA IDENTITY FULL;

ALTER TABLE rowcast.forgotten OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.forgotten IS 'One row: a snapshot that sees every event that was forgotten up to this truncation.';

CREATE TABLE rowcast.history_break (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (vacuum_truncate=off);

ALTER TABLE ONLY rowcast.history_break REPLICA IDENTITY FULL;

ALTER TABLE rowcast.history_break OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.history_break IS 'Events were lost and the log could not be written to say so: while there is a row, every bookmark is answered with a gap. rowcast.ensure_history() begins a new history and takes it away.';

CREATE TABLE rowcast.history_mark (
    nonce text NOT NULL,
    database_oid oid NOT NULL,
    log_oid oid NOT NULL,
    name text DEFAULT "left"(replace((gen_random_uuid())::text, '-'::text, ''::text), 10) NOT NULL
);

ALTER TABLE ONLY rowcast.history_mark REPLICA IDENTITY FULL;

ALTER TABLE rowcast.history_mark OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.history_mark IS 'The current history, written by rowcast.ensure_history().';

COMMENT ON COLUMN rowcast.history_mark.name IS 'What its bookmarks begin with.';

CREATE UNLOGGED TABLE rowcast.history_pulse (
    nonce text NOT NULL
);

ALTER TABLE rowcast.history_pulse OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.history_pulse IS 'The same nonce, in a table that does not survive what makes old bookmarks lie.';

CREATE TABLE rowcast.home_rule (
    rooms_of text NOT NULL
);

ALTER TABLE rowcast.home_rule OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.home_rule IS 'Functions (claims jsonb) returns text[]: the rooms a user is in from the start.';

CREATE SEQUENCE rowcast.horizon
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE rowcast.horizon OWNER TO rowcast_owner;

COMMENT ON SEQUENCE rowcast.horizon IS 'Every event that was ever forgotten has an xid below it.';

CREATE UNLOGGED SEQUENCE rowcast.lastval
    START WITH 1
    INCREMENT BY 1
    MINVALUE -9223372036854775808
    NO MAXVALUE
    CACHE 1
    CYCLE;

ALTER TABLE rowcast.lastval OWNER TO rowcast_owner;

COMMENT ON SEQUENCE rowcast.lastval IS 'What rowcast.keep_lastval makes lastval() speak of; whoever calls that has to be allowed to read it.';

CREATE TABLE rowcast.leaf (
    leaf integer NOT NULL,
    turn bigint,
    entered_at timestamp with time zone,
    left_at timestamp with time zone,
    refused_at timestamp with time zone,
    CONSTRAINT leaf_is_one_of_six CHECK (((leaf >= 0) AND (leaf <= 5)))
);

ALTER TABLE rowcast.leaf OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.leaf IS 'What rowcast.rotate_log() saw of the leaves of the log; it may notice late, never early.';

COMMENT ON COLUMN rowcast.leaf.turn IS 'Id of its events divided by 2^20; null: never written.';

COMMENT ON COLUMN rowcast.leaf.entered_at IS 'Since when it is, or was, the leaf that is written.';

COMMENT ON COLUMN rowcast.leaf.left_at IS 'When another took over; null: it is written now.';

COMMENT ON COLUMN rowcast.leaf.refused_at IS 'Since when somebody holds a lock on it and keeps it from being emptied.';

CREATE TABLE rowcast.migration_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);

ALTER TABLE rowcast.migration_history OWNER TO rowcast_owner;

CREATE TABLE rowcast.overdue (
    xid xid8 NOT NULL
);

ALTER TABLE rowcast.overdue OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.overdue IS 'Transactions that rotate the log when they commit, for want of a service; else empty.';

CREATE TABLE rowcast.reader (
    sub text NOT NULL,
    name text NOT NULL,
    bookmark text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT reader_bookmark CHECK (((octet_length(bookmark) >= 1) AND (octet_length(bookmark) <= 2048))),
    CONSTRAINT reader_name CHECK ((((octet_length(name) >= 1) AND (octet_length(name) <= 200)) AND (name !~
CASE
    WHEN (getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'::text) THEN '[[:cntrl:]]'::text
    ELSE '(?=[[:ascii:]])[[:cntrl:]]'::text
END))),
    CONSTRAINT reader_sub CHECK (((octet_length(sub) >= 1) AND (octet_length(sub) <= 2048)))
)
WITH (fillfactor='50');

ALTER TABLE rowcast.reader OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.reader IS 'Durable readers: up to where each has acknowledged what it was sent. See rowcast.acknowledge.';

COMMENT ON COLUMN rowcast.reader.sub IS 'The claim sub of the user whose it is.';

COMMENT ON COLUMN rowcast.reader.name IS 'As its user calls it.';

COMMENT ON COLUMN rowcast.reader.bookmark IS 'It resumes from here unless it brings a bookmark.';

COMMENT ON COLUMN rowcast.reader.at IS 'Clock when the place was written last.';

CREATE TABLE rowcast.recheck_due (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY rowcast.recheck_due REPLICA IDENTITY FULL;

ALTER TABLE rowcast.recheck_due OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.recheck_due IS 'While there is a row, everybody is to be asked for again: rowcast.tend_log() does so and takes it away.';

CREATE TABLE rowcast.revocation (
    sub text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    CONSTRAINT revocation_sub CHECK (((octet_length(sub) >= 1) AND (octet_length(sub) <= 2048)))
);

ALTER TABLE rowcast.revocation OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.revocation IS 'Users whose tokens issued up to then no longer count; written by rowcast.revoke.';

COMMENT ON COLUMN rowcast.revocation.sub IS 'The claim sub.';

COMMENT ON COLUMN rowcast.revocation.at IS 'Clock at the commit of the revocation.';

COMMENT ON COLUMN rowcast.revocation.version IS 'The access_version that this revocation made.';

CREATE TABLE rowcast.room_rule (
    pattern text NOT NULL,
    may_join text NOT NULL,
    CONSTRAINT room_rule_pattern CHECK ((((octet_length(pattern) >= 1) AND (octet_length(pattern) <= 200)) AND (POSITION(('*'::text) IN (rtrim(pattern, '*'::text))) = 0) AND (pattern !~ '[*][*]$'::text) AND (pattern !~
CASE
    WHEN (getdatabaseencoding() ~ '^(UTF8|LATIN|ISO)'::text) THEN '[[:cntrl:]]'::text
    ELSE '(?=[[:ascii:]])[[:cntrl:]]'::text
END)))
);

ALTER TABLE rowcast.room_rule OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.room_rule IS 'A pattern is a literal, or a prefix followed by *. The longest that fits decides; none, no entry.';

COMMENT ON COLUMN rowcast.room_rule.may_join IS 'Function (claims jsonb, room text) returns boolean.';

CREATE TABLE rowcast.script (
    name text NOT NULL,
    md5 text NOT NULL
);

ALTER TABLE rowcast.script OWNER TO rowcast_owner;

CREATE TABLE rowcast.session_rule (
    cookie text NOT NULL,
    claims_of text NOT NULL
);

ALTER TABLE rowcast.session_rule OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.session_rule IS 'Functions (text) returns jsonb: exchange an application''s own session cookie for claims with exp, or null.';

CREATE TABLE rowcast.setting (
    doorbell text,
    keep_for interval DEFAULT '1 day'::interval NOT NULL,
    keep_bytes bigint DEFAULT 1073741824 NOT NULL,
    access_version bigint DEFAULT 0 NOT NULL,
    rules_version bigint DEFAULT 0 NOT NULL,
    keep_failures integer DEFAULT 10000 NOT NULL,
    reader_keep interval DEFAULT '7 days'::interval NOT NULL,
    readers_per_user integer DEFAULT 100 NOT NULL,
    schema_number integer DEFAULT 0 NOT NULL,
    CONSTRAINT setting_doorbell CHECK ((doorbell = ANY (ARRAY['adaptive'::text, 'always'::text, 'never'::text]))),
    CONSTRAINT setting_keep_bytes CHECK ((keep_bytes >= 1048576)),
    CONSTRAINT setting_keep_failures CHECK ((keep_failures >= 0)),
    CONSTRAINT setting_keep_for CHECK (((keep_for >= '00:01:00'::interval) AND (keep_for <= '10 years'::interval))),
    CONSTRAINT setting_reader_keep CHECK (((reader_keep >= '00:00:01'::interval) AND (reader_keep <= '10 years'::interval))),
    CONSTRAINT setting_readers_per_user CHECK ((readers_per_user >= 0))
);

ALTER TABLE ONLY rowcast.setting REPLICA IDENTITY FULL;

ALTER TABLE rowcast.setting OWNER TO rowcast_owner;

COMMENT ON TABLE rowcast.setting IS 'One row: what holds for this database, whoever serves it.';

COMMENT ON COLUMN rowcast.setting.doorbell IS 'Set by rowcast.set_doorbell: adaptive, always or never; null: as the service is configured.';

COMMENT ON COLUMN rowcast.setting.keep_for IS 'Events are kept this long, and a quarter longer at most, unless keep_bytes is reached before.';

COMMENT ON COLUMN rowcast.setting.keep_bytes IS 'The log with its indexes takes this many bytes, whether or not anybody serves this database.';

COMMENT ON COLUMN rowcast.setting.access_version IS 'Counts revocations and changes of rules, in their own transactions; every look at the log reads it.';

COMMENT ON COLUMN rowcast.setting.rules_version IS 'The access_version of the last change of rules: whoever was admitted before it is asked for again.';

COMMENT ON COLUMN rowcast.setting.keep_failures IS 'Of rowcast.failure so many rows are kept, the youngest.';

COMMENT ON COLUMN rowcast.setting.reader_keep IS 'A reader is forgotten when its place was not written for this long.';

COMMENT ON COLUMN rowcast.setting.readers_per_user IS 'Readers that one user (claim sub) may have: each takes a row, whoever makes up the names.';

COMMENT ON COLUMN rowcast.setting.schema_number IS 'Set by rowcast migrate at its end, from sql/number; 0: by a version that did not count yet.';

CREATE SEQUENCE rowcast.truncation
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE rowcast.truncation OWNER TO rowcast_owner;

COMMENT ON SEQUENCE rowcast.truncation IS 'Number of the last truncation that was begun: tells whether rowcast.forgotten is up to date.';

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_0 FOR VALUES IN ('0');

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_1 FOR VALUES IN ('1');

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_2 FOR VALUES IN ('2');

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_3 FOR VALUES IN ('3');

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_4 FOR VALUES IN ('4');

ALTER TABLE ONLY rowcast.log ATTACH PARTITION rowcast.event_5 FOR VALUES IN ('5');

ALTER TABLE ONLY rowcast.event ATTACH PARTITION rowcast.log DEFAULT;

ALTER TABLE ONLY rowcast.attached
    ADD CONSTRAINT attached_pkey PRIMARY KEY (relation, operation);

ALTER TABLE ONLY rowcast.callable
    ADD CONSTRAINT callable_pkey PRIMARY KEY (name);

ALTER TABLE ONLY rowcast.channel
    ADD CONSTRAINT channel_pkey PRIMARY KEY (name);

ALTER TABLE ONLY rowcast.failure
    ADD CONSTRAINT failure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowcast.home_rule
    ADD CONSTRAINT home_rule_pkey PRIMARY KEY (rooms_of);

ALTER TABLE ONLY rowcast.leaf
    ADD CONSTRAINT leaf_pkey PRIMARY KEY (leaf);

ALTER TABLE ONLY rowcast.migration_history
    ADD CONSTRAINT migration_history_pkey PRIMARY KEY (version);

ALTER TABLE ONLY rowcast.overdue
    ADD CONSTRAINT overdue_pkey PRIMARY KEY (xid);

ALTER TABLE ONLY rowcast.reader
    ADD CONSTRAINT reader_pkey PRIMARY KEY (sub, name);

ALTER TABLE ONLY rowcast.revocation
    ADD CONSTRAINT revocation_pkey PRIMARY KEY (sub);

ALTER TABLE ONLY rowcast.room_rule
    ADD CONSTRAINT room_rule_pkey PRIMARY KEY (pattern);

ALTER TABLE ONLY rowcast.script
    ADD CONSTRAINT script_pkey PRIMARY KEY (name);

ALTER TABLE ONLY rowcast.session_rule
    ADD CONSTRAINT session_rule_pkey PRIMARY KEY (cookie);

CREATE INDEX event_xid ON ONLY rowcast.event USING btree (xid);

CREATE INDEX log_xid ON ONLY rowcast.log USING btree (xid);

CREATE INDEX event_0_xid_idx ON rowcast.event_0 USING btree (xid);

CREATE INDEX event_1_xid_idx ON rowcast.event_1 USING btree (xid);

CREATE INDEX event_2_xid_idx ON rowcast.event_2 USING btree (xid);

CREATE INDEX event_3_xid_idx ON rowcast.event_3 USING btree (xid);

CREATE INDEX event_4_xid_idx ON rowcast.event_4 USING btree (xid);

CREATE INDEX event_5_xid_idx ON rowcast.event_5 USING btree (xid);

CREATE UNIQUE INDEX forgotten_is_one_row ON rowcast.forgotten USING btree ((true));

CREATE UNIQUE INDEX setting_is_one_row ON rowcast.setting USING btree ((true));

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_0_xid_idx;

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_1_xid_idx;

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_2_xid_idx;

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_3_xid_idx;

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_4_xid_idx;

ALTER INDEX rowcast.log_xid ATTACH PARTITION rowcast.event_5_xid_idx;

ALTER INDEX rowcast.event_xid ATTACH PARTITION rowcast.log_xid;

CREATE TRIGGER _050_rowcast_resolve BEFORE INSERT OR UPDATE ON rowcast.callable FOR EACH ROW EXECUTE FUNCTION rowcast.resolve_for_writer('function', 'may_call');

CREATE TRIGGER _050_rowcast_resolve BEFORE INSERT OR UPDATE ON rowcast.home_rule FOR EACH ROW EXECUTE FUNCTION rowcast.resolve_for_writer('rooms_of');

CREATE TRIGGER _050_rowcast_resolve BEFORE INSERT OR UPDATE ON rowcast.room_rule FOR EACH ROW EXECUTE FUNCTION rowcast.resolve_for_writer('may_join');

CREATE TRIGGER _050_rowcast_resolve BEFORE INSERT OR UPDATE ON rowcast.session_rule FOR EACH ROW EXECUTE FUNCTION rowcast.resolve_for_writer('claims_of');

CREATE TRIGGER _100_rowcast_check BEFORE INSERT OR UPDATE ON rowcast.callable FOR EACH ROW EXECUTE FUNCTION rowcast.check_callable();

CREATE TRIGGER _100_rowcast_check BEFORE INSERT OR UPDATE ON rowcast.home_rule FOR EACH ROW EXECUTE FUNCTION rowcast.check_rule('rooms_of', 'jsonb', 'text[]');

CREATE TRIGGER _100_rowcast_check BEFORE INSERT OR UPDATE ON rowcast.room_rule FOR EACH ROW EXECUTE FUNCTION rowcast.check_rule('may_join', 'jsonb, text', 'boolean');

CREATE TRIGGER _100_rowcast_check BEFORE INSERT OR UPDATE ON rowcast.session_rule FOR EACH ROW EXECUTE FUNCTION rowcast.check_rule('claims_of', 'text', 'jsonb');

CREATE CONSTRAINT TRIGGER _800_rowcast_access AFTER INSERT OR DELETE OR UPDATE ON rowcast.home_rule DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.home_rule ENABLE ALWAYS TRIGGER _800_rowcast_access;

CREATE CONSTRAINT TRIGGER _800_rowcast_access AFTER INSERT OR UPDATE OF sub ON rowcast.revocation DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.revocation ENABLE ALWAYS TRIGGER _800_rowcast_access;

CREATE CONSTRAINT TRIGGER _800_rowcast_access AFTER INSERT OR DELETE OR UPDATE ON rowcast.room_rule DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.room_rule ENABLE ALWAYS TRIGGER _800_rowcast_access;

CREATE CONSTRAINT TRIGGER _800_rowcast_access AFTER INSERT OR DELETE OR UPDATE ON rowcast.session_rule DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.session_rule ENABLE ALWAYS TRIGGER _800_rowcast_access;

CREATE TRIGGER _800_rowcast_access_truncate AFTER TRUNCATE ON rowcast.home_rule FOR EACH STATEMENT EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.home_rule ENABLE ALWAYS TRIGGER _800_rowcast_access_truncate;

CREATE TRIGGER _800_rowcast_access_truncate AFTER TRUNCATE ON rowcast.room_rule FOR EACH STATEMENT EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.room_rule ENABLE ALWAYS TRIGGER _800_rowcast_access_truncate;

CREATE TRIGGER _800_rowcast_access_truncate AFTER TRUNCATE ON rowcast.session_rule FOR EACH STATEMENT EXECUTE FUNCTION rowcast.access_changed();

ALTER TABLE rowcast.session_rule ENABLE ALWAYS TRIGGER _800_rowcast_access_truncate;

CREATE TRIGGER _800_rowcast_unpause AFTER DELETE OR UPDATE ON rowcast.channel FOR EACH ROW EXECUTE FUNCTION rowcast.unpause();

ALTER TABLE rowcast.channel ENABLE ALWAYS TRIGGER _800_rowcast_unpause;

CREATE TRIGGER _800_rowcast_unpause_truncate BEFORE TRUNCATE ON rowcast.channel FOR EACH STATEMENT EXECUTE FUNCTION rowcast.unpause();

ALTER TABLE rowcast.channel ENABLE ALWAYS TRIGGER _800_rowcast_unpause_truncate;

CREATE TRIGGER _900_rowcast_ring AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON rowcast.channel FOR EACH STATEMENT EXECUTE FUNCTION rowcast.ring();

ALTER TABLE rowcast.channel ENABLE ALWAYS TRIGGER _900_rowcast_ring;

CREATE TRIGGER _900_rowcast_ring AFTER INSERT ON rowcast.event REFERENCING NEW TABLE AS new_events FOR EACH STATEMENT WHEN (((pg_sequence_last_value('rowcast.doorbell'::regclass) = 1) OR (pg_sequence_last_value('rowcast.announcing'::regclass) = 1) OR (pg_sequence_last_value('rowcast.event_id_seq'::regclass) >= pg_sequence_last_value('rowcast.bound'::regclass)))) EXECUTE FUNCTION rowcast.ring();

ALTER TABLE rowcast.event ENABLE ALWAYS TRIGGER _900_rowcast_ring;

CREATE TRIGGER _900_rowcast_ring AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON rowcast.setting FOR EACH STATEMENT EXECUTE FUNCTION rowcast.ring();

ALTER TABLE rowcast.setting ENABLE ALWAYS TRIGGER _900_rowcast_ring;

CREATE CONSTRAINT TRIGGER _900_rowcast_settle AFTER INSERT ON rowcast.overdue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.settle_overdue();

ALTER TABLE rowcast.overdue ENABLE ALWAYS TRIGGER _900_rowcast_settle;

GRANT USAGE ON SCHEMA rowcast TO PUBLIC;

REVOKE ALL ON FUNCTION rowcast.access(p_asked jsonb, p_leeway bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.access(p_asked jsonb, p_leeway bigint) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.access_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.acknowledge(p_acks jsonb, p_pause interval) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.acknowledge(p_acks jsonb, p_pause interval) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.admit(p_claims jsonb, p_rooms text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.attach(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.begin_call(p_name text, p_claims jsonb, p_leeway bigint, p_version bigint, p_timeout_ms bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.begin_call(p_name text, p_claims jsonb, p_leeway bigint, p_version bigint, p_timeout_ms bigint) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.bookmark_with_own() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.bound_log() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.call(p_args text, p_max_bytes bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.call(p_args text, p_max_bytes bigint) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.check_any_rewrite() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_callable() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_columns(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_computed(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_horizon(p_from pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_operation(p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_owner() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_query(p_table regclass, p_operation text, p_query text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_rewrites() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_rights(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_rule() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.check_table(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.checked_name(p_channel text, p_name text, p_rooms text[], p_data json) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.decode_snapshot(p_text text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.detach(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.emit(p_channel text, p_name text, p_rooms text[], p_data json) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.encode_snapshot(p_snapshot pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.ensure_history() FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.ensure_history() TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.enter_leaf(p_turn bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.event_rows(p_query text, p_columns text[], p_channel text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.events_since(p_bookmark text, p_rooms text[], p_limit bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.events_since(p_bookmark text, p_rooms text[], p_limit bigint) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.fill_in(p_template text, p_parts jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.fit_arguments(p_function regprocedure, p_args text, OUT problem text, OUT source text, OUT call text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.forget_failures() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.forget_leaf(p_leaf integer, p_read pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.forget_readers() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.forget_revocations(p_older_than interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.has_control(p_text text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.has_utf8(p_text text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.highest_xid() FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.highest_xid() TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.history() FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.history() TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.home_rooms(p_claims jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_below(p_table regclass, p_parent regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_held(p_leaf integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_led() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_revoked(p_claims jsonb, p_leeway bigint, p_version bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_subset(p_seen pg_snapshot, p_in pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.is_within(p_place text, p_other text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.keep_lastval() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.leaf_is_full(p_last bigint, p_share bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.log_size(OUT bytes bigint, OUT events bigint, OUT oldest_at timestamp with time zone, OUT refused_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.log_size(OUT bytes bigint, OUT events bigint, OUT oldest_at timestamp with time zone, OUT refused_at timestamp with time zone) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.look(p_from pg_snapshot, p_render boolean, p_bytes bigint, p_equals boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.look(p_from pg_snapshot, p_render boolean, p_bytes bigint, p_equals boolean) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.misfit(p_columns text[], p_args text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.new_history() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.new_xid() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.no_function(p_signature text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.not_callable(p_names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.not_callable(p_names text[]) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.note_lastval() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.notify_queue_is_filling() FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.notify_queue_is_filling() TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.open_reader(p_sub text, p_name text, p_bookmark text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.open_reader(p_sub text, p_name text, p_bookmark text) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.overview(p_rows integer) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.overview(p_rows integer) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.parse_bookmark(p_bookmark text, OUT history text, OUT base pg_snapshot, OUT batch pg_snapshot, OUT id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.part_way(p_from pg_snapshot, p_bytes bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.plan_query(p_query text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.read_log(p_from pg_snapshot, p_to pg_snapshot, p_after bigint, p_rooms text[], p_limit bigint, p_equals boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.read_log(p_from pg_snapshot, p_to pg_snapshot, p_after bigint, p_rooms text[], p_limit bigint, p_equals boolean) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.reader_place(p_sub text, p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.reader_place(p_sub text, p_name text) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.recheck() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.recheck_at_commit() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.record_failure(p_channel text, p_relation text, p_operation text, p_sqlstate text, p_message text, p_context text, p_concerned rowcast.concern[], p_guarded boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.refuse_write(p_relation text, p_operation text, p_sqlstate text, p_message text, p_detail text, p_hint text, p_context text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.remembers(p_from pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.render(p_function text, p_keys jsonb[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.resolve_for_writer() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.restore(p_user text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.revoke(p_user text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.ring() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.rotate_log(p_read pg_snapshot, OUT moved boolean, OUT forgotten integer, OUT refused integer) FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.rotate_log(p_read pg_snapshot, OUT moved boolean, OUT forgotten integer, OUT refused integer) TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.rule_failed(p_kind text, p_rule text, p_sqlstate text, p_message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.secure_function(p_function text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.sent(p_value jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.session_claims(p_cookies jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.session_cookies() FROM PUBLIC;
GRANT ALL ON FUNCTION rowcast.session_cookies() TO rowcast_service;

REVOKE ALL ON FUNCTION rowcast.set_doorbell(p_mode text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.set_horizon(p_horizon bigint, p_seen pg_snapshot) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.set_triggers(p_table regclass, p_operation text, p_function text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.settings_for(p_query text, p_view regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.settle_overdue() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.spare_leaf(p_turn bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.state_key(p_data json) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.tables_below(p_table regclass, OUT relation oid, OUT depth integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.tell_listeners(p_word text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.tell_rooms(p_name text, p_data json, p_concerned rowcast.concern[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.tend_log(p_last bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.trigger_function_name(p_table regclass, p_operation text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.trigger_source(p_table regclass, p_operation text, p_query text, p_mode text, p_reset_above integer, p_columns text[], p_channel text, p_function text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.trigger_template() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.unpause() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.wake() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.warn(p_message text) FROM PUBLIC;

GRANT SELECT ON SEQUENCE rowcast.announcing TO PUBLIC;

GRANT SELECT ON TABLE rowcast.attachment TO rowcast_service;

GRANT SELECT ON SEQUENCE rowcast.bound TO PUBLIC;

GRANT SELECT ON TABLE rowcast.channel TO rowcast_service;

GRANT SELECT ON TABLE rowcast.committed TO rowcast_service;

GRANT SELECT,UPDATE ON SEQUENCE rowcast.doorbell TO rowcast_service;
GRANT SELECT ON SEQUENCE rowcast.doorbell TO PUBLIC;

GRANT SELECT ON TABLE rowcast.failure TO rowcast_service;

GRANT SELECT ON SEQUENCE rowcast.horizon TO rowcast_service;

GRANT SELECT ON SEQUENCE rowcast.lastval TO PUBLIC;

GRANT SELECT ON TABLE rowcast.revocation TO rowcast_service;

GRANT SELECT ON TABLE rowcast.setting TO rowcast_service;
