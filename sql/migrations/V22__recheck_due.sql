-- A sign-out that can't count itself, for another was quicker, is not forgotten.

-- Only ever inserted into by writers, so that none of them waits for another.
create table rowcast.recheck_due (
  at timestamptz not null default clock_timestamp()
);
-- With a publication FOR ALL TABLES what nothing identifies can't be deleted.
alter table rowcast.recheck_due replica identity full;
comment on table rowcast.recheck_due is
  'While there is a row, everybody is to be asked for again: rowcast.tend_log() does so and takes it away.';
