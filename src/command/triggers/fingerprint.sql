-- Equal before and after a statement in one transaction: the statement changed nothing. Functions,
-- rights, comments and the rules of admission are compared; of other catalogs and of tables, any
-- row that this transaction has written counts as a change. Where in a text an expression stood
-- (defaults of arguments, bodies in standard SQL) depends on what was run along with it.
with recent as (
  select pg_current_xact_id_if_assigned()::xid as own
),
schemas as (
  select oid from pg_namespace
  where nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and nspname !~ '^pg_temp'
)
select encode(sha256(convert_to(concat_ws('|',
  (select string_agg(n::text, ',' order by n.oid) from pg_namespace n where oid in (table schemas)),
  (select string_agg(encode(sha256(convert_to(case
      when p.proargdefaults is null and p.prosqlbody is null then p::text
      else regexp_replace(p::text, ':(stmt_)?(location|len) -?\d+', '', 'g')
    end, getdatabaseencoding())), 'hex'), ',' order by p.oid) from pg_proc p
    where pronamespace in (table schemas)),
  (select string_agg(
      (c.oid, c.relname, c.relnamespace, c.relowner, c.relacl, c.relkind, c.reloptions)::text, ','
      order by c.oid)
    from pg_class c where relnamespace in (table schemas)),
  (select string_agg(d::text, ',' order by d.objoid, d.classoid, d.objsubid)
    from pg_description d where objoid >= 16384),
  (select string_agg(r::text, ',' order by r.pattern) from rowcast.room_rule r),
  (select string_agg(r::text, ',' order by r.rooms_of) from rowcast.home_rule r),
  (select string_agg(r::text, ',' order by r.cookie) from rowcast.session_rule r),
  (select string_agg(c::text, ',' order by c.name) from rowcast.channel c),
  (select string_agg(c::text, ',' order by c.name) from rowcast.callable c),
  (select count(*) from pg_attribute, recent where xmin = own),
  (select count(*) from pg_attrdef, recent where xmin = own),
  (select count(*) from pg_constraint, recent where xmin = own),
  (select count(*) from pg_index, recent where xmin = own),
  (select count(*) from pg_trigger, recent where xmin = own),
  (select count(*) from pg_rewrite, recent where xmin = own),
  (select count(*) from pg_policy, recent where xmin = own),
  (select count(*) from pg_type, recent where xmin = own),
  (select count(*) from pg_enum, recent where xmin = own),
  (select count(*) from pg_extension, recent where xmin = own),
  (select count(*) from pg_default_acl, recent where xmin = own),
  (select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_xact_user_tables
    where schemaname <> 'rowcast' or relname not in
      ('room_rule', 'home_rule', 'session_rule', 'channel', 'callable'))
), getdatabaseencoding())), 'hex')
