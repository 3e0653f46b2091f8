-- The two roles and the schema that everything else needs. Applied first at every `rowcast
-- migrate`, as the role that connects (a superuser, or one with CREATEROLE and CREATE on the
-- database).
-- What follows this file runs as rowcast_owner, so it must never create anything inside the schema.

do $$
declare
  v_role text;
  -- From 16 on, whoever creates a role is its member but may not act as it.
  v_membership text := case
    when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member'
  end;
begin
  foreach v_role in array array['rowcast_owner', 'rowcast_service'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
      begin
        execute pg_catalog.format('create role %I nologin', v_role);
      exception
        -- Roles belong to the cluster: a migration of another database may have been quicker.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;
  -- Rowcast says it in each session; this is for whoever logs in as the service otherwise.
  if not exists (
    select from pg_catalog.pg_db_role_setting s
    where s.setrole = 'rowcast_service'::pg_catalog.regrole and s.setdatabase = 0
      and pg_catalog.array_to_string(s.setconfig, e'\n') ~ '(^|\n)search_path='
  ) then
    begin
      alter role rowcast_service set search_path = pg_catalog, pg_temp;
    exception
      -- Not our role, or a migration of another database was quicker.
      when insufficient_privilege or unique_violation then null;
    end;
  end if;
  if not pg_catalog.pg_has_role(current_user, 'rowcast_owner', v_membership) then
    execute pg_catalog.format('grant rowcast_owner to %I', current_user);
  end if;
end
$$;

create schema if not exists rowcast authorization rowcast_owner;

-- Behind it: whoever owns the database may have made one just before us. Whoever owns the schema,
-- or what we call in it, has his own functions run by us. And what nobody's rights were ever
-- settled of is everybody's to call, as its owner.
do $$
declare
  v_owned text;
  v_open text;
begin
  select o.what || ' belongs to ' || pg_catalog.pg_get_userbyid(o.owner) into v_owned
  from (
    select 0 as rank, 'schema rowcast' as what, n.nspowner as owner
    from pg_catalog.pg_namespace n where n.nspname = 'rowcast'
    union all
    select 1, 'table rowcast.' || pg_catalog.quote_ident(c.relname), c.relowner
    from pg_catalog.pg_class c
    where c.relnamespace = 'rowcast'::pg_catalog.regnamespace and c.relkind in ('r', 'p')
    union all
    select 2, 'function ' || p.oid::pg_catalog.regprocedure, p.proowner
    from pg_catalog.pg_proc p
    where p.pronamespace = 'rowcast'::pg_catalog.regnamespace and p.prosecdef
  ) o
  where o.owner <> 'rowcast_owner'::pg_catalog.regrole
  order by o.rank, o.what
  limit 1;
  if v_owned is not null then
    raise exception using errcode = 'RC009',
      message = v_owned || ', not to rowcast_owner: nothing was changed',
      hint = 'After a restore with --no-owner: drop schema rowcast cascade, and restore it with '
        'its owners and grants, or migrate anew. If nobody knows how it came there, look at what '
        'it holds: its functions would run as whoever migrates.';
  end if;
  select p.oid::pg_catalog.regprocedure::text into v_open
  from pg_catalog.pg_proc p
  where p.pronamespace = 'rowcast'::pg_catalog.regnamespace and p.prosecdef and p.proacl is null
    -- Everybody's anyway, which a dump doesn't say.
    and p.proname <> 'bookmark'
  order by 1
  limit 1;
  if v_open is not null then
    raise exception using errcode = 'RC009',
      message = v_open || ' may be called by everybody: nothing was changed',
      hint = 'After a restore with --no-acl or --no-privileges: drop schema rowcast cascade, and '
        'restore it with its owners and grants, or migrate anew.';
  end if;
end
$$;

-- As the owner from here on: whoever migrates may be a member who does not inherit what is the
-- owner's.
set local role rowcast_owner;
comment on schema rowcast is
  'Rowcast: the event log, its doorbell, and the rules of who may hear what.';

-- Legacy pages print rowcast.bookmark(); everything else in the schema is granted one by one.
do $$
begin
  if not pg_catalog.has_schema_privilege('public', 'rowcast', 'usage') then
    grant usage on schema rowcast to public;
  end if;
end
$$;
