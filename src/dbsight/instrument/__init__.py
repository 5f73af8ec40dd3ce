"""1 WATCH: one file per client library; each fills Operations and publishes them on the bus."""
