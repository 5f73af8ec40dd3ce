"""Reading Redis: commands as the client sends them, and texts of them that others made."""
