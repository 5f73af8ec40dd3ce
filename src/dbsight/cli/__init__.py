"""The command ``dbsight``."""
