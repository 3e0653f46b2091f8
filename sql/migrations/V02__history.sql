-- The identity of this database's history. The unlogged half is emptied by a crash or a promotion;
-- the oids differ in a copy. Where the two halves disagree, a new history has begun.

create table rowcast.history_mark (
  nonce text not null,
  database_oid oid not null,
  log_oid oid not null
);
comment on table rowcast.history_mark is 'The current history, written by rowcast.ensure_history().';

create unlogged table rowcast.history_pulse (
  nonce text not null
);
comment on table rowcast.history_pulse is
  'The same nonce, in a table that does not survive what makes old bookmarks lie.';
