"""A Django project with faults and their fixes; ``program.py`` runs them in a process of their own."""
