"""A shop that lists its orders; it knows nothing of dbsight."""
