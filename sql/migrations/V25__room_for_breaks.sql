-- A lossy write whose events find the disk full notes the loss in rowcast.history_break, and that needed a
-- page: where nothing at all had room, the application's write failed. So the table has some pages from now on,
-- which no vacuum gives back; rowcast.new_history makes them where they are missing, as after a restore.

alter table rowcast.history_break set (vacuum_truncate = off);
insert into rowcast.history_break select clock_timestamp() from generate_series(1, 1600);
delete from rowcast.history_break;
