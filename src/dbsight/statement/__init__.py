"""Query text → Statement, cached.

``read`` is what every other package uses. Behind it, from the outside in: ``cache`` remembers texts, ``spelling`` takes
off what surrounds a query, ``reader`` chooses between ``sql``, ``redis`` and ``non_sql``. In ``sql``, ``reader`` makes
a Statement, ``scanner`` goes through the text once, ``dialects`` says where a token ends, ``list_collapsing`` shortens
long lists, ``quoted_words`` and ``secret_words`` tell values that look like names, ``grammar`` and ``clauses`` say what
the statement does, ``traits`` what it is for. ``parameters`` compares bound values.
"""

from dbsight.statement.cache import clear, read

__all__ = ["clear", "read"]
