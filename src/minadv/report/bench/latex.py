r"""Tables for LaTeX, with booktabs and multirow."""

import re
from collections.abc import Iterable

from minadv.report.bench import names
from minadv.report.bench.tables import THIN, Block, Table, Value

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "→": r"$\to$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "‘": "`",
    "’": "'",
    "ℓ": r"$\ell$",
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "δ": r"$\delta$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "μ": r"$\mu$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    THIN: r"\,",
}
ORDERS = {"∞": r"\infty"}
PREAMBLE = r"""% Needs \usepackage[T1]{fontenc} \usepackage{booktabs,multirow,textcomp,graphicx}"""
_TOKEN = re.compile(
    rf"ℓ(?P<order>\d|∞)|\^(?P<above>[A-Z])\b|10(?P<power>[{names.POWERS}]+)|(?P<other>.)", re.DOTALL
)


def document(lead: Iterable[str], tables: Iterable[Table]) -> str:
    """Return every table, to be put into a document by its input command."""
    comments = "\n".join(f"% {' '.join(line.split())}" for line in lead)
    return "\n\n".join([f"{PREAMBLE}\n{comments}", *map(written, tables)]) + "\n"


def written(table: Table) -> str:
    """Return one floating table, shrunk to the width of the text where it is wider."""
    letters = "".join("r" if column.number else "l" for column in table.columns)
    body = [_block(table, block) for block in table.blocks]
    caption = " ".join([f"{table.title}.", *table.notes])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{table.slug}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{'l' * table.grouped}{letters}}}",
            r"\toprule",
            *_heads(table),
            r"\midrule",
            "\n\\midrule\n".join(body),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is; characters that it has no glyph for as their code."""
    # at the beginning of a row, [ and * would belong to the \\ before it
    guard = "{}" if text.lstrip()[:1] in ("[", "*") else ""
    return guard + "".join(map(_token, _TOKEN.finditer(" ".join(_words(text)))))


def _words(text: str) -> list[str]:
    # str.split would take the thin spaces between thousands for white space
    return re.split(rf"(?:(?!{THIN})\s)+", text.strip())


def _token(match: re.Match[str]) -> str:
    if order := match["order"]:
        return rf"$\ell_{{{ORDERS.get(order, order)}}}$"
    if above := match["above"]:
        return rf"$^{{\mathrm{{{above}}}}}$"
    if power := match["power"]:
        return rf"$10^{{{names.plain(power)}}}$"
    character = match["other"]
    if character in SPECIAL:
        return SPECIAL[character]
    known = (character.isascii() and character.isprintable()) or (character.isalpha() and ord(character) < 0x180)
    return character if known else rf"\texttt{{U+{ord(character):04X}}}"


def _heads(table: Table) -> list[str]:
    first = 2 if table.grouped else 1
    own = ["Model"] * table.grouped + [escape(column.head) for column in table.columns]
    if not any(over for over, _ in table.heads):
        return [_row(own)]
    shared, place = [""] * table.grouped, first
    rules: list[str] = []
    for over, span in table.heads:
        shared.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(over)}}}" if over else "")
        if over:
            rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
        place += span
    return [_row(shared), " ".join(rules), _row(own)]


def _block(table: Table, block: Block) -> str:
    rows: list[str] = []
    for number, row in enumerate(block.rows):
        name = rf"\multirow{{{len(block.rows)}}}{{*}}{{{escape(block.model)}}}" if number == 0 else ""
        rows.append(_row([name] * table.grouped + [_value(value) for value in row]))
    return "\n".join(rows)


def _value(value: Value) -> str:
    return rf"\textbf{{{escape(value.text)}}}" if value.best else escape(value.text)


def _row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
