"""Tables as GitHub's Markdown."""

import re
from collections.abc import Iterable

from minadv.report.bench.tables import Table, Value


def document(title: str, lead: Iterable[str], tables: Iterable[Table]) -> str:
    """Return a page with every table under a heading."""
    parts = [f"# {escape(title)}", *map(escape, lead)]
    for table in tables:
        parts += [f"## {escape(table.title)}", written(table), *map(escape, table.notes)]
    return "\n\n".join(parts) + "\n"


def written(table: Table) -> str:
    """Return one table. Shared heads are joined with the column's own, best values are bold."""
    heads = [f"{column.over} {column.head}".strip() for column in table.columns]
    rules = ["---:" if column.number else "---" for column in table.columns]
    if table.grouped:
        heads, rules = ["Model", *heads], ["---", *rules]
    lines = [_line(map(escape, heads)), _line(rules)]
    for block in table.blocks:
        for row in block.rows:
            model = [escape(block.model)] if table.grouped else []
            lines.append(_line([*model, *map(_value, row)]))
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", plain)


def _value(value: Value) -> str:
    return f"**{escape(value.text)}**" if value.best else escape(value.text)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
