"""Rules check the operations of a window, and report findings."""
