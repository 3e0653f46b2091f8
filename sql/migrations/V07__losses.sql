-- Losses are told to those concerned, and never in silence; a bound on what one statement may tell.

alter table rowcast.attached
  add column reset_above integer,
  add constraint attached_reset_above check (reset_above >= 0);
comment on column rowcast.attached.reset_above is
  'A statement with more events than this tells one event `reset` per room instead; null: never.';

create type rowcast.concern as (channel text, room text);
comment on type rowcast.concern is 'A room that a statement had something to tell to, on a channel.';

-- Only ever inserted into by writers, so that none of them waits for another.
create table rowcast.history_break (
  at timestamptz not null default clock_timestamp()
);
comment on table rowcast.history_break is
  'Events were lost and the log could not be written to say so: while there is a row, every bookmark '
  'is answered with a gap. rowcast.ensure_history() begins a new history and takes it away.';

comment on table rowcast.failure is
  'Errors of lossy triggers: the application''s write went through, its events are lost, '
  'and the rooms concerned were told of a gap.';

-- They take more arguments from now on. Of rowcast.record_failure, which triggers in use call, the
-- old one goes in the transaction that brings the new one.
drop function if exists rowcast.attach(regclass, text, text, text);
drop function if exists rowcast.trigger_source(regclass, text, text, text, text[], text, text);
