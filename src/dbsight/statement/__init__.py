"""Query text → Statement, cached.

``read`` is what every other room uses. Behind it, from the outside in: ``cache`` remembers texts, ``reader`` makes a
Statement, ``scanner`` goes through the text once, ``dialects`` says where a token ends, ``lists`` shortens long lists,
``grammar`` and ``clauses`` say what the statement does, ``traits`` what it is for; ``commands`` reads what is no SQL.
"""

from dbsight.statement.cache import clear, read

__all__ = ["clear", "read"]
