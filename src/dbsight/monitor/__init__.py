"""Totals over the life of the process."""
