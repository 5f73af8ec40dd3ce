"""1 WATCH: one file per client library; each fills one record per operation and appends it to the queue."""
