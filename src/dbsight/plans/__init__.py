"""Query plans: ``explain`` asks a database for one, ``ExplainAnalyzer`` says what is wrong with it.

One file per database (``sqlite``, ``postgresql``, ``mysql``, ``mariadb``) makes the nodes of ``model.Plan``;
``permission`` decides what may be explained and executed, ``sessions`` reaches the database, ``rendering`` writes a
plan without literals, ``issues`` judges it.
"""
