"""Benchmarks and load tests that tell what they did to the database, too.

``benchmark.py`` repeats functions one after the other, ``load.py`` runs a scenario many times at once, ``records.py``
measures ways to write and read a table, ``observed.py`` counts the queries meanwhile, ``compared.py`` says whether two
runs differ.
"""
