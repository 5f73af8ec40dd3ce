"""A small bookshop on Django and SQLite with typical faults, each beside its fixed twin."""
