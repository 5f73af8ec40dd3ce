"""Statements grown by hypothesis: what a query is (its shape), and the many ways in which it can be written."""

from hypothesis import strategies as st

VALUE, LIST, ROWS = "<value>", "<list>", "<rows>"
"""Holes of a shape: one value, the inside of an IN list, the rows of VALUES."""

MARK = "SECRET"
NUMBER = "424242"

NAMES = st.sampled_from(
    [
        "id",
        "name",
        "total",
        "created_at",
        "orders",
        "customers",
        "x1",
        "select_",
        "from_here",
        "café",
        "in_stock",
        "t$1",
    ]
)
TABLES = st.sampled_from(["orders", "customers", "public.items", "order_lines_2024", "a", "źródła"])
COLUMNS = st.one_of(NAMES, st.builds("{}.{}".format, st.sampled_from(["o", "customers_1", "t2"]), NAMES))
OPERATORS = st.sampled_from(["=", "<>", "<", ">=", "LIKE", "IS NOT DISTINCT FROM"])

PREDICATES = st.one_of(
    st.tuples(COLUMNS, OPERATORS, st.just(VALUE)),
    st.tuples(COLUMNS, OPERATORS, COLUMNS),
    st.tuples(COLUMNS, st.just("IN ("), st.just(LIST), st.just(")")),
    st.tuples(COLUMNS, st.sampled_from(["IS NULL", "IS NOT NULL", "IS TRUE"])),
    st.tuples(st.just("lower ("), COLUMNS, st.just(") ="), st.just(VALUE)),
    st.tuples(COLUMNS, st.just("BETWEEN"), st.just(VALUE), st.just("AND"), st.just(VALUE)),
    st.tuples(st.just("EXISTS ( SELECT"), st.just(VALUE), st.just("FROM"), TABLES, st.just(")")),
)


def joined(parts, word):
    """Parts of a shape with a word between them."""
    out = []
    for part in parts:
        out += [word, *part] if out else list(part)
    return out


@st.composite
def selects(draw):
    """A SELECT with joins, predicates, an order and a limit, or without."""
    shape = ["SELECT", *joined([[c] for c in draw(st.lists(COLUMNS, min_size=1, max_size=5))], ",")]
    shape += ["FROM", draw(TABLES)]
    for table in draw(st.lists(TABLES, max_size=2)):
        shape += [
            draw(st.sampled_from(["JOIN", "LEFT JOIN"])),
            table,
            "AS",
            "o",
            "ON",
            draw(COLUMNS),
            "=",
            draw(COLUMNS),
        ]
    predicates = draw(st.lists(PREDICATES, max_size=4))
    if predicates:
        shape += ["WHERE", *joined(predicates, draw(st.sampled_from(["AND", "OR"])))]
    if draw(st.booleans()):
        shape += ["ORDER BY", draw(COLUMNS)]
    if draw(st.booleans()):
        shape += ["LIMIT", VALUE]
    return shape


@st.composite
def writes(draw):
    """INSERT with rows, UPDATE or DELETE."""
    table, predicate = draw(TABLES), draw(PREDICATES)
    columns = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    kind = draw(st.sampled_from(["insert", "update", "delete"]))
    if kind == "insert":
        return ["INSERT INTO", table, "(", *joined([[c] for c in columns], ","), ") VALUES", (ROWS, len(columns))]
    if kind == "update":
        return ["UPDATE", table, "SET", *joined([[c, "=", VALUE] for c in columns], ","), "WHERE", *predicate]
    return ["DELETE FROM", table, "WHERE", *predicate]


SHAPES = st.one_of(selects(), writes())

CONTENTS = st.text(
    st.one_of(st.sampled_from("'\"`\\$-/*#;?:%@[](){}\n ,=.0aE"), st.characters(codec="utf-8", max_codepoint=0x2FFF)),
    max_size=12,
)


def quoted(content, system):
    """A string literal as the dialect escapes it."""
    if system in ("mysql", "mariadb"):
        return "'" + content.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + content.replace("'", "''") + "'"


@st.composite
def literals(draw, system):
    """A literal of the dialect with a marker in it."""
    content = draw(CONTENTS) + MARK + draw(CONTENTS)
    if system == "other_sql":
        content = content.replace("\\", "")  # with one in it the rest of the statement may be hidden: said elsewhere
    forms = [quoted(content, system)] * 3
    forms += [NUMBER, f"-{NUMBER}", f"{NUMBER}.5", f"1e{NUMBER}", f".{NUMBER}", f"0x{NUMBER}", "TRUE", "false"]
    if system in ("mysql", "mariadb", "other_sql"):
        forms.append('"' + content.replace("\\", "\\\\").replace('"', '""') + '"')
    if system == "sqlite":
        forms += [f'"{MARK}"', '"' + content.replace('"', '""') + '"']
    if system == "postgresql":
        escaped = content.replace("\\", "\\\\").replace("'", "\\'")
        forms += [f"E'{escaped}'", f"$${content.replace('$', '')}$$", f"$q_1${content.replace('$', '')}$q_1$"]
    if system == "microsoft.sql_server":
        forms += ["N" + quoted(content, system), f"${NUMBER}.50"]
    if system == "oracle.db":
        forms += [f"q'[{content.replace(']', '')}]'", f"nq'!{content.replace('!', '')}!'"]
    return draw(st.sampled_from(forms))


BOUND = {
    "postgresql": ["?", "%s", "%(name_1)s", "$1", "$12::INTEGER", "%(a)s::TIMESTAMP WITHOUT TIME ZONE", ":name"],
    "mysql": ["?", "%s", "%(name_1)s", ":name"],
    "sqlite": ["?", "?1", ":name_1", "@name", "$name"],
    "microsoft.sql_server": ["?", "@p1", "%s"],
    "oracle.db": [":1", ":name_1", ':"select"'],
    "other_sql": ["?", "%s", ":name", "$1"],
}
SYSTEMS = st.sampled_from(sorted(BOUND))


@st.composite
def values(draw, system):
    """A literal or a placeholder."""
    return draw(st.one_of(literals(system), st.sampled_from(BOUND[system])))


@st.composite
def gaps(draw, system):
    """White space, perhaps with a comment in it."""
    gap = draw(st.sampled_from([" ", " ", " ", "\n", "  \t", " \r\n "]))
    comment = draw(st.sampled_from(["", "", "", "", "--", "/*"]))
    if not comment:
        return gap
    content = draw(CONTENTS).replace("*/", "").replace("/*", "").replace("\n", "").replace("\r", "") + MARK
    if system == "other_sql":
        content = MARK
    if comment == "--":
        return f" -- {content}\n"
    content = content.strip("*/!M+")
    return f" /* {content} */ "


@st.composite
def written(draw, shape, system):
    """A shape as SQL: values, gaps and the case of words are drawn."""
    out = [draw(gaps(system)) if draw(st.booleans()) else ""]
    for part in shape:
        if part == VALUE:
            out.append(draw(values(system)))
        elif part == LIST:
            out.append(f"{draw(gaps(system))},".join(draw(st.lists(values(system), min_size=1, max_size=12))))
        elif isinstance(part, tuple):
            rows = draw(st.lists(st.lists(values(system), min_size=part[1], max_size=part[1]), min_size=1, max_size=4))
            out.append(f",{draw(gaps(system))}".join("(" + ", ".join(row) + ")" for row in rows))
        else:
            out.append(draw(st.sampled_from([part, part, part.lower(), part.upper()])).replace(" ", draw(gaps(system))))
        out.append(draw(gaps(system)))
    return "".join(out)
