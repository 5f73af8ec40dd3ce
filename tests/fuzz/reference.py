"""A second, slow opinion on where the values of a text are: one character after the other, no regular expression.

Written from the manuals of the databases, not from the reader that it judges. It knows strings, quoted names and
comments, and nothing else of SQL.
"""

CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}
NAME = "_$#@"
BRACKETS = ("sqlite", "microsoft.sql_server")
BACKTICKS = ("mysql", "sqlite")


def hidden_spans(text, system):
    """The stretches of a text that are values or comments, quotes and marks included.

    Returns:
        Pairs of a start and an end. A quoted name that is not closed counts too: what it hides may be anything.
    """
    spans = []
    place = 0
    executable = 0  # how many /*! … */ are open
    while place < len(text):
        if executable and text.startswith("*/", place):
            end, hides = place + 2, False
            executable -= 1
        elif text.startswith("/*", place):
            end, opened = _block(text, place, system)
            executable += opened
            hides = not opened
        else:
            end, hides = _token(text, place, system)
        if hides:
            spans.append((place, end))
        place = end
    return spans


def _token(text, place, system):
    """The end of the token at a place, and whether it is hidden."""
    char = text[place]
    if _opens_line(text, place, system):
        return _line(text, place, system), True
    if text.startswith("::", place):
        return place + 2, False
    if char == ":" and (text[place + 1 : place + 2].isalpha() or text[place + 1 : place + 2] == "_"):
        return place + 1 + len(_letters(text, place + 1)), False  # a parameter: no prefix of a string
    if char.isalpha() or char == "_" or ord(char) > 127:
        return _word(text, place, system)
    return _quote(text, place, system)


def _opens_line(text, place, system):
    if text.startswith("--", place):
        return system != "mysql" or text[place + 2 : place + 3] in ("", *" \t\r\n\f\v")
    return system == "mysql" and text[place] == "#"


def _quote(text, place, system):
    char = text[place]
    if char == "'" or (char == '"' and system == "mysql"):
        return _string(text, place, char, escapes=system == "mysql"), True
    if char == '"' or (char == "`" and system in BACKTICKS) or (char == "[" and system in BRACKETS):
        return _quoted(text, place, system)
    if char == "$" and system == "postgresql":
        return _dollar(text, place)
    return place + 1, False


def _block(text, place, system):
    """The end of a block comment, and 1 when it is executed: then only its mark is passed."""
    if system == "mysql" and (text.startswith("/*!", place) or text.startswith("/*M!", place)):
        end = text.index("!", place) + 1
        while end < len(text) and text[end].isdigit() and text[end].isascii():
            end += 1
        return end, 1
    depth, end = 1, place + 2
    while end < len(text) and depth:
        if text.startswith("*/", end):
            depth -= 1
            end += 2
        elif text.startswith("/*", end) and system in ("postgresql", "microsoft.sql_server"):
            depth += 1
            end += 2
        else:
            end += 1
    return end, 0


def _line(text, place, system):
    while place < len(text) and text[place] != "\n" and not (text[place] == "\r" and system == "postgresql"):
        place += 1
    return place


def _string(text, place, quote, *, escapes):
    """The end of a string that opens here; the end of the text when nothing closes it."""
    end = place + 1
    while end < len(text):
        if escapes and text[end] == "\\":
            end += 2
        elif text[end] != quote:
            end += 1
        elif text[end + 1 : end + 2] == quote:
            end += 2
        else:
            return end + 1
    return len(text)


def _quoted(text, place, system):
    quote = "]" if text[place] == "[" else text[place]
    if quote == "]" and system == "sqlite":
        end = text.find("]", place)
        return (len(text), True) if end < 0 else (end + 1, False)
    end = place + 1
    while end < len(text):
        if text[end] != quote:
            end += 1
        elif text[end + 1 : end + 2] == quote:
            end += 2
        else:
            return end + 1, False
    return len(text), True


def _letters(text, place):
    end = place
    while end < len(text) and (text[end].isalnum() or text[end] in "_$" or ord(text[end]) > 127):
        end += 1
    return text[place:end]


def _word(text, place, system):
    """A word, or the string whose prefix it is."""
    end = place
    while end < len(text) and (text[end].isalnum() or text[end] in NAME or ord(text[end]) > 127):
        if text[end] in "#@" and system not in ("microsoft.sql_server", "oracle.db"):
            break
        end += 1
    word = text[place:end].lower()
    if text[end : end + 1] == "'":
        if word == "e" and system == "postgresql":
            return _continued(text, end), True
        if word in ("q", "nq") and system == "oracle.db" and end + 1 < len(text):
            close = text.find(CLOSING.get(text[end + 1], text[end + 1]) + "'", end + 2)
            return (len(text) if close < 0 else close + 2), True
    return end, False


def _continued(text, place):
    """An escape string of PostgreSQL: the same rules hold for what follows it in the next line."""
    end = _string(text, place, "'", escapes=True)
    while True:
        after, lines = end, False
        while after < len(text) and (text[after] in " \t\r\n\f\v" or text.startswith("--", after)):
            if text[after] == "-":
                after = _line(text, after, "postgresql")
            else:
                lines = lines or text[after] in "\r\n"
                after += 1
        if not lines or text[after : after + 1] != "'":
            return end
        end = _string(text, after, "'", escapes=True)


def _dollar(text, place):
    end = place + 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_" or ord(text[end]) > 127):
        end += 1
    tag = text[place : end + 1]
    if not tag.endswith("$") or len(tag) < 2 or tag[1].isdigit():
        return place + 1, False
    close = text.find(tag, end + 1)
    return (len(text) if close < 0 else close + len(tag)), True
