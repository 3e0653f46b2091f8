-- A bookmark names more open transactions before it has to be shortened; a reader's is as long.

alter table rowcast.reader
  drop constraint reader_bookmark,
  add constraint reader_bookmark check (octet_length(bookmark) between 1 and 2048);
