import json
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import color

from minadv import hashes, metrics, paper
from minadv.bench.records import MEASURED, Cell, Diagnosis, Planned, Population
from minadv.bench.stored import Stored
from minadv.distances import CIEDE2000
from minadv.report import bench, pictures
from minadv.report.bench import (
    accuracy,
    drawn,
    groups,
    headline,
    latex,
    lines,
    markdown,
    names,
    palette,
    report,
    results,
    scored,
    selection,
    showcase,
    spending,
)
from minadv.report.bench.tables import THIN, Block, Column, Table, Value, decimals, number
from minadv.result import Trace
from tests import bench_by_hand as by_hand
from tests.bench_by_hand import INF, NASTY, Shelf, cell, rows, stored
from tests.bench_by_hand import drawn as draw
from tests.browser import launched, needs_browser, opened


def text_of(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else "–"


def page_of(folder: Path, of: Stored, **options: object) -> str:
    return bench.write(folder, of, formats=("html",), **options).read_text(encoding="utf-8")


def line_of(of: Stored, population: str | None = None, entry: int = 0) -> lines.Line:
    return report.of(of, population).lines[entry]


# the numbers


def plain_statistics(of: Stored, correct: bool) -> dict[tuple[str, str, str], tuple[float, ...]]:
    """ASR, median, mean, forwards, backwards, 8-bit share of every cell, in plain Python."""
    found = {}
    for planned in of.planned:
        kept = [
            row
            for row in of.rows.iter_rows(named=True)
            if row["cell"] == planned.cell.id and (not correct or row["clean_prediction"] == row["label"])
        ]
        distances = []
        for row in kept:
            reached = row[planned.cell.column] if row["success"] else INF
            distances.append(0.0 if row["status"] == "already adversarial" else reached)
        attacked = [row for row in kept if row["status"] != "already adversarial"]
        hits = [row for row in attacked if row["status"] == "found"]
        found[planned.cell.column, planned.model, planned.attack] = (
            100 * sum(row["success"] for row in kept) / len(kept),
            statistics.median_low(distances),
            statistics.mean(row[planned.cell.column] for row in hits),
            statistics.mean(row["forwards"] for row in attacked),
            statistics.mean(row["backwards"] for row in attacked),
            100 * statistics.mean(row["survives_8bit"] for row in hits),
        )
    return found


@pytest.mark.parametrize("population", ["all", "correct"])
def test_every_line_follows_from_the_rows(population: str):
    folder = by_hand.paper_like(60)
    expected = plain_statistics(folder, population == "correct")
    found = report.of(folder, population).lines
    assert len(found) == len(folder.planned) == 66
    for line in found.values():
        key = (line.entry.cell.column, line.entry.cell.model, line.entry.cell.attack)
        numbers = (100 * line.asr, line.median, line.mean, line.forwards, line.backwards, 100 * line.survives)
        assert numbers == pytest.approx(expected[key], rel=1e-12)
        assert line.counted == (60 if population == "all" else 59)


def test_optimality_is_against_the_best_of_every_attack_of_the_folder():
    # the second attack minimises l1, yet its l2 is the best known on the first sample
    first = cell(attack="ALMA ℓ2 100")
    other = cell(attack="ALMA ℓ1 100", minimises="l1", column="l1")
    frame = rows(other, [9.0, 9.0, INF]).with_columns(l2=pl.Series([1.0, 5.0, INF]))
    shown = report.of(stored((first, [2.0, 3.0, 4.0]), (other, frame)))
    assert shown.rows.filter(pl.col("entry") == 0)["best"].to_list() == [1.0, 3.0, 4.0]
    expected = metrics.local_optimality(np.array([2.0, 3.0, 4.0]), np.array([1.0, 3.0, 4.0]))
    assert shown.lines[0].optimality == pytest.approx(expected)
    assert shown.lines[0].optimality == pytest.approx(1 - 1 / (12 - 8))


def test_other_goals_other_weights_and_custom_distances_have_envelopes_of_their_own():
    custom = cell(attack="ALMA mine 100", minimises="mine", column="distance")
    aimed = cell(attack="ALMA aimed 100", goal="target 3")
    copy = cell(attack="ALMA copy 100", model_hash="0" * 64)
    usual = cell(attack="ALMA ℓ2 100")
    shown = report.of(stored((usual, [2.0, 2.0]), (custom, [1.0, 3.0]), (aimed, [0.5, 4.0]), (copy, [0.1, 5.0])))
    best = {part["entry"][0]: part["best"].to_list() for part in shown.rows.partition_by("entry")}
    # the custom attack's measured l2 is twice its distance by hand
    assert best == {0: [2.0, 2.0], 1: [1.0, 3.0], 2: [0.5, 4.0], 3: [0.1, 5.0]}
    assert [group.title.partition(", ")[2] for group in shown.groups] == ["ℓ2", "mine", "ℓ2, target 3"]


def test_the_envelope_says_who_reached_each_best_distance():
    folder = by_hand.paper_like(40)
    shown = report.of(folder)
    best: dict[tuple[str, str, str], tuple[float, str]] = {}
    for row in shown.rows.join(shown.cells, on="entry", maintain_order="left").iter_rows(named=True):
        for name in MEASURED:
            value = 0.0 if row["status"] == "already adversarial" else row[name] if row["success"] else INF
            key = (row["model"], row["content"], name)
            if value < best.get(key, (INF, ""))[0]:
                best[key] = (value, row["attack"])
    found = scored.envelope(shown.rows, shown.cells, shown.beyond)
    assert {
        (row["model"], row["content"], row["distance"]): (row["best"], row["attack"])
        for row in found.iter_rows(named=True)
    } == best


def test_an_incomplete_cell_is_marked_and_failed_samples_are_counted():
    shown = report.of(by_hand.nasty())
    lost = shown.lines[2]
    assert (lost.done, lost.errors, lost.counted, lost.complete) == (0, 3, 0, False)
    assert math.isnan(lost.median)
    row = shown.tables[0].blocks[1].rows[0]
    assert [value.text for value in row] == [
        "ALMA ℓ2 100 †",
        "–",
        "–",
        "–",
        "–",
        "–",
        "–",
        "0 of 3 done, 3 failed",
    ]
    assert any(note.startswith("† Not all samples") for note in shown.tables[0].notes)


def test_samples_that_were_not_asked_for_do_not_count():
    folder = stored((cell(), [1.0, 2.0, 3.0, INF]))
    asked = folder.planned[0].model_copy(update={"samples": (1, 2)})
    line = line_of(replace(folder, planned=(asked,)))
    assert line.distances.tolist() == [2.0, 3.0]
    assert line.complete


def test_a_cell_keeps_its_rows_when_the_name_of_its_data_changes():
    folder = stored((cell(), [1.0, 2.0]))
    moved = folder.planned[0].cell.model_copy(update={"data": "npz:/elsewhere/images.npz"})
    planned = folder.planned[0].model_copy(update={"cell": moved, "data": moved.data})
    assert line_of(replace(folder, planned=(planned,))).done == 2


def test_the_same_data_under_two_names_have_the_same_rows():
    one, other = cell(), cell(data="npz:/data/copy.npz")
    assert one.id == other.id
    folder = stored((one, [1.0, 2.0]))
    again = folder.planned[0].model_copy(update={"cell": other, "data": other.data})
    shown = report.of(replace(folder, planned=(*folder.planned, again)))
    assert [line.distances.tolist() for line in shown.lines.values()] == [[1.0, 2.0], [1.0, 2.0]]


def test_a_distance_that_was_not_measured_is_a_failure_and_said():
    of = cell(attack="LPA 40", minimises="lpips", column="lpips")
    folder = stored((of, rows(of, [0.1, 0.2, 0.3]).with_columns(lpips=pl.Series([0.1, None, 0.3]))))
    assert line_of(folder).distances.tolist() == [0.1, 0.3, INF]
    shown = report.of(folder)
    issues = bench.page.findings.of(folder, shown.rows, shown.groups)
    assert [(issue.check, issue.severity) for issue in issues] == [("missing distances", "problem")]
    assert "found 1 adversarials" in issues[0].seen[0][1]


def test_more_steps_that_make_it_worse_are_found_in_the_rows():
    few, many = cell(attack="FMN ℓ2 100"), cell(attack="FMN ℓ2 1000")
    folder = stored((few, np.linspace(1, 2, 20)), (many, np.linspace(2, 4, 20)))
    shown = report.of(folder)
    issues = bench.page.findings.of(folder, shown.rows, shown.groups)
    assert [issue.check for issue in issues] == ["more steps"]
    assert "from FMN ℓ2 100 to FMN ℓ2 1000" in issues[0].seen[0][1]
    fine = stored((few, np.linspace(2, 4, 20)), (many, np.linspace(1, 2, 20)))
    assert bench.page.findings.of(fine, report.of(fine).rows, report.of(fine).groups) == ()


# the tables


def test_the_best_median_is_bold_and_the_papers_numbers_stand_beside():
    folder = by_hand.paper_like(50)
    shown = report.of(folder)
    table = next(table for table in shown.tables if table.slug == "cifar-10-lpips-paper")
    assert [f"{column.over} {column.head}".strip() for column in table.columns][:8] == [
        "Attack",
        "ASR (%) ours",
        "ASR (%) paper",
        "Median LPIPS (paper's) ×10⁻² ours",
        "Median LPIPS (paper's) ×10⁻² paper",
        "Median LPIPS (paper's) ×10⁻² ratio",
        "forwards / backwards ours",
        "forwards / backwards paper",
    ]
    block = table.blocks[1]
    assert block.model == "WRN 28-10 Carmon et al."
    row = block.rows[2]
    line = next(
        line
        for line in shown.lines.values()
        if (line.entry.cell.model, line.entry.cell.attack) == (block.model, "ALMA LPIPS 1000")
    )
    assert [row[place].text for place in (2, 4, 7)] == ["100.0", "1.01", f"1{THIN}000 / 1{THIN}000"]
    assert row[5].text == f"{line.median / 0.0101:.2f}"
    for block in table.blocks:
        medians = [row[3] for row in block.rows]
        assert [value.best for value in medians] == [
            value.text == min(medians, key=lambda other: other.order).text for value in medians
        ]


@pytest.mark.parametrize(
    ("attack", "minimises", "column", "beside"),
    [
        ("ALMA CIEDE2000 100", "ciede2000", "ciede2000", False),
        ("ALMA CIEDE2000 100", "ciede2000", "ciede2000_paper", True),
        ("ALMA LPIPS 100", "lpips[alex]", "lpips", False),
        ("ALMA LPIPS 100", "lpips[alex,none]", "distance", False),
        ("ALMA LPIPS 100", "lpips[demo,none]", "distance", False),
        ("ALMA LPIPS 100", "lpips[alex,none]", "lpips_paper", True),
    ],
)
def test_the_papers_numbers_stand_beside_its_own_scale_only(
    attack: str, minimises: str, column: str, beside: bool
):
    found = cell(model="WRN 28-10", attack=attack, paper="cifar10", minimises=minimises, column=column)
    shown = report.of(stored((found, [1.0, 2.0])))
    assert ("paper" in [column.head for column in shown.tables[0].columns]) is beside


def test_means_over_models_are_geometric_and_beside_the_papers():
    shown = report.of(by_hand.paper_like(50))
    table = next(table for table in shown.tables if table.slug == "cifar-10-l2-overall")
    row = next(row for row in table.blocks[0].rows if row[0].text == "ALMA ℓ2 1000")
    ours = [
        line
        for line in shown.lines.values()
        if line.entry.cell.attack == "ALMA ℓ2 1000" and line.entry.cell.column == "l2"
    ]
    mean = math.prod(line.median for line in ours) ** (1 / 3)
    theirs = [row.median for row in paper.rows(7) if row.attack == "ALMA ℓ2 1000"]
    assert len(ours) == len(theirs) == 3
    assert row[4].order == pytest.approx(mean)
    assert row[5].text == f"{math.prod(theirs) ** (1 / 3):.2f}"
    assert row[6].order == pytest.approx(mean / math.prod(theirs) ** (1 / 3))
    assert row[-1].order == pytest.approx(statistics.mean(line.optimality for line in ours))


def test_a_median_of_infinity_makes_the_mean_undefined():
    one, other = cell(model="A"), cell(model="B")
    shown = report.of(stored((one, [1.0, 2.0, 3.0]), (other, [1.0, INF, INF])))
    assert shown.tables[0].blocks[1].rows[0][2] == Value("–", INF)
    assert shown.tables[1].blocks[0].rows[0][3].text == "–"


def test_nothing_is_best_where_no_mean_is_defined():
    parts = [(cell(model=model), [1.0, INF, INF]) for model in "AB"]
    parts += [(cell(model=model, attack="DDN 100"), [INF, INF, 1.0]) for model in "AB"]
    overall = report.of(stored(*parts)).tables[1]
    assert [(row[3].text, row[3].best) for row in overall.blocks[0].rows] == [("–", False)] * 2


def test_what_the_paper_has_not_is_empty_in_its_columns():
    theirs = draw(by_hand.PAPER_MODELS, ("DDN 100",), 30, paper="cifar10")
    mine = draw(by_hand.PAPER_MODELS, ("Mine ℓ2 100",), 30, paper="cifar10")
    table = report.of(by_hand.merged(theirs, mine)).tables[1]
    beside = [place for place, column in enumerate(table.columns) if column.head in ("paper", "ratio")]
    known, own = table.blocks[0].rows
    assert len(beside) == 4
    assert [own[place].text for place in beside] == [""] * 4
    assert all(known[place].text not in ("", "–") for place in beside)
    assert not any(note.startswith("The paper has not all") for note in table.notes)
    more = report.of(by_hand.merged(theirs, draw(["Ours"], ("DDN 100",), 30, paper="cifar10"))).tables[1]
    assert not any(column.head == "paper" for column in more.columns)
    assert any(note.startswith("The paper has not all") for note in more.notes)


def test_medians_over_different_samples_are_not_compared():
    parts = [(cell(model=model), [1.0, 2.0, 3.0]) for model in "AB"]
    parts += [
        (cell(model="A", attack="DDN 100"), [0.1, 0.2]),
        (cell(model="B", attack="DDN 100"), [4.0, 5.0, 6.0]),
    ]
    table, overall = report.of(stored(*parts)).tables
    assert [[row[2].best for row in block.rows] for block in table.blocks] == [[False, False], [True, False]]
    assert not any(row[3].best for row in overall.blocks[0].rows)
    for found in (table, overall):
        assert results.NOTE_DIFFERENT in found.notes
    # a cell that has not begun is no reason
    later = cell(model="B", attack="FMN ℓ2 100")
    begun = stored(*parts[1:2], parts[3], (later, []))
    planned = begun.planned[2].model_copy(update={"samples": (0, 1, 2)})
    (table,) = report.of(replace(begun, planned=(*begun.planned[:2], planned))).tables
    assert [row[2].best for row in table.blocks[0].rows] == [True, False, False]
    assert results.NOTE_DIFFERENT not in table.notes


def test_medians_over_as_many_but_other_samples_are_not_compared():
    """As where some attacks are over the first samples, others over the first that are classified correctly."""
    one, other = cell(), cell(attack="DDN 100", population="correct")
    drawn = {"sample": [1, 2, 3], "content": [f"{k:064x}" for k in (1, 2, 3)]}
    for changes, best in (({}, [True, False]), (drawn, [False, False])):
        (table,) = report.of(stored((one, [1.0] * 3), (other, rows(other, [2.0] * 3, **changes)))).tables
        assert [row[2].best for row in table.blocks[0].rows] == best
        assert (results.NOTE_DIFFERENT in table.notes) == (not any(best))


def test_means_over_fewer_models_are_said_to_be():
    parts = [(cell(model=model), [1.0, 2.0]) for model in "AB"] + [(cell(model="A", attack="DDN 100"), [0.1, 0.2])]
    overall = report.of(stored(*parts)).tables[1]
    assert [(row[0].text, row[1].text, row[3].best) for row in overall.blocks[0].rows] == [
        ("ALMA ℓ2 100", "2", False),
        ("DDN 100", "1", False),
    ]
    assert "Means over different models do not compare." in overall.notes


def test_means_without_a_model_that_is_not_done_yet_are_marked():
    parts = [(cell(model=model), [1.0, 2.0]) for model in "AB"] + [(cell(model="A", attack="DDN 100"), [0.1, 0.2])]
    folder, other = stored(*parts), cell(model="B", attack="DDN 100")
    waiting = Planned(model="B", attack="DDN 100", cell=other, samples=(0, 1))
    overall = report.of(replace(folder, planned=(*folder.planned, waiting))).tables[1]
    assert [row[0].text for row in overall.blocks[0].rows] == ["ALMA ℓ2 100", "DDN 100 †"]
    assert "† Not all samples of all models are done." in overall.notes


def test_robust_accuracy_has_columns_at_the_radii_of_the_suite():
    values = [0.0, 0.4, 0.5, 0.75, INF]
    one, other = cell(radii=("1/2",)), cell(attack="DDN 100", radii=("0.25", "1/2"))
    (table,) = report.of(stored((one, values), (other, [0.0, *values[:-1]]))).tables
    heads = [(column.over, column.head) for column in table.columns]
    assert heads[4:6] == [("Robust (%) at ℓ2", "ε = 0.25"), ("Robust (%) at ℓ2", "ε = 1/2")]
    assert [[value.text for value in row[4:6]] for row in table.blocks[0].rows] == [
        ["80.0", "40.0"],
        ["60.0", "20.0"],
    ]
    searched = one.model_copy(update={"settings": {**one.settings, "fixed_radius": 0.3}, "radii": ("0.3", "1/2")})
    (row,) = report.of(stored((searched, values))).tables[0].blocks[0].rows
    assert [value.text for value in row[4:6]] == ["80.0", "–"]
    assert "| Robust (%) at ℓ2 ε = 1/2 |" in markdown.written(table)
    assert r"\multicolumn{2}{c}{Robust (\%) at $\ell_{2}$}" in latex.written(table)


@pytest.mark.parametrize(
    ("values", "places"),
    [([5.3, 147], 2), ([0.0912, 1], 4), ([INF, 0.0], 2), ([1e-9], 6), ([0.5, 0.9], 3), ([], 2)],
)
def test_decimals_show_three_digits_of_the_smallest(values: list[float], places: int):
    assert decimals(values) == places


def test_numbers_are_printed_as_in_the_paper():
    assert number(13082.4, 0).text == f"13{THIN}082"
    assert number(INF, 2).text == number(math.nan, 2).text == "–"
    assert number(1e-9, 3).text == "1.0e-09"
    assert number(0.0, 2).text == "0.00"


def test_everything_is_the_same_bytes_every_time(tmp_path: Path):
    attacks = ("FMN ℓ2 100", "FMN ℓ2 1000")
    folder = by_hand.merged(draw(["A", "B"], attacks, 30), draw(["A"], ("ALMA SSIM 100",), 30, "ssim"))
    shuffled = replace(folder, rows=folder.rows.sample(fraction=1, shuffle=True, seed=1))
    for place, of in (("one", folder), ("two", shuffled)):
        bench.write(tmp_path / place, of)
    written = sorted(path.name for path in (tmp_path / "one/report").iterdir())
    curves = [
        f"curves-cifar10-test-1000-npz-{name}.{kind}" for name in ("l2", "ssim") for kind in ("pdf", "png", "svg")
    ]
    assert written == [*curves, "envelope.parquet", "index.html", "results.parquet", "tables.md", "tables.tex"]
    for name in written:
        assert (tmp_path / "one/report" / name).read_bytes() == (tmp_path / "two/report" / name).read_bytes(), name


def test_markdown_prints_every_number_of_the_tables():
    shown = report.of(by_hand.paper_like(30))
    text = markdown.document("A suite", ["lead"], shown.tables)
    header, rule, *body = markdown.written(shown.tables[0]).splitlines()
    assert header.startswith("| Model | Attack | ASR (%) ours | ASR (%) paper | Median ℓ1 ours |")
    assert len(body) == 18
    width = header.count("|")
    assert all(line.count("|") == width for line in (rule, *body))
    cells = [entry.strip(" *") for entry in body[0].split("|")[1:-1]]
    assert cells == ["WRN 28-10", *(value.text for value in shown.tables[0].blocks[0].rows[0])]
    assert text.count("\n## ") == 10


def test_markdown_escapes_every_name():
    text = markdown.document(NASTY, [], report.of(by_hand.nasty()).tables)
    assert "<" not in text
    assert "\u2028" not in text
    inner = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in inner[:5]}) == 1


def test_latex_is_balanced_and_escaped():
    text = latex.document([NASTY], [*report.of(by_hand.nasty()).tables, *report.of(by_hand.paper_like(20)).tables])
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}$%&#_]", "", body.replace(r"\ifdim\width>\linewidth", ""))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[<>|\"#]", bare)
    assert all(ord(character) < 0x180 for character in body)
    for kind in ("table", "tabular"):
        assert body.count(rf"\begin{{{kind}}}") == body.count(rf"\end{{{kind}}}") == 12
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        for line in tabular[1].splitlines():
            if line.endswith("\\\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(tabular[0]) - 1, line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ALMA ℓ2 9×1000", r"ALMA $\ell_{2}$ 9$\times$1000"),
        ("ℓ∞", r"$\ell_{\infty}$"),
        ("FAB^T 50%", r"FAB$^{\mathrm{T}}$ 50\%"),
        ("a_b|c ×10⁻⁴", r"a\_b\textbar{}c $\times$$10^{-4}$"),
        (f"σ-zero – 1{THIN}000\n中", r"$\sigma$-zero -- 1\,000 \texttt{U+4E2D}"),
        ("Rony, Jérôme", "Rony, Jérôme"),
    ],
)
def test_latex_writes_the_fields_symbols(text: str, written: str):
    assert latex.escape(text) == written


def test_the_stored_rows_give_the_tables_to_anyone(tmp_path: Path):
    folder = by_hand.paper_like(30)
    page = page_of(tmp_path, folder)
    recipe = re.search(r"<pre[^>]*>(import polars.*?)</pre>", page, re.DOTALL)
    assert recipe
    code = (
        recipe[1].replace('"results.parquet"', repr(str(tmp_path / "report/results.parquet"))).replace("&gt;", ">")
    )
    code = code.replace("&#34;", '"').replace("rows.group_by", "found = rows.group_by")
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 (the recipe that the page prints)
    expected = plain_statistics(folder, correct=False)
    for row in scope["found"].iter_rows(named=True):
        key = (row["compared_by"], row["model"], row["attack"])
        numbers = (row["asr"], row["median"], row["forwards"], row["backwards"])
        assert numbers == pytest.approx([expected[key][k] for k in (0, 1, 3, 4)])


# names


def test_titles_of_data_never_collide():
    specs = ["npz:/a/one.npz", "npz:/b/one.npz", "npz:/b/two.npz", "demo", "folder:/x/y?size=224"]
    titles = names.titles([cell(data=spec) for spec in specs])
    assert list(titles.values()) == ["npz:/a/one.npz", "npz:/b/one.npz", "two.npz", "demo", "y?size=224"]
    assert names.slugs(["ℓ2 A", "l2-a", "中"]) == ["l2-a", "l2-a-2", "unnamed"]
    assert (names.symbol("linf"), names.symbol("lpips[demo,none]"), names.symbol("mine")) == (
        "ℓ∞",
        "LPIPS[demo,none]",
        "mine",
    )


def test_an_attack_has_one_colour_and_its_reduced_budget_is_dotted():
    attacks = ("FAB ℓ2 100", "FAB^T ℓ2 100", "FMN ℓ2 100", "FMN ℓ2 1000")
    one = draw(["A", "B"], attacks, 10)
    found = groups.of(by_hand.merged(one, draw(["A"], ("FMN ℓ1 1000",), 10, "l1")))
    styles = palette.styles(found)
    of = defaultdict(set)
    for group in found:
        for entry in group.entries:
            of[entry.cell.attack].add((styles[entry.number].colour, styles[entry.number].dash))
    assert all(len(looks) == 1 for looks in of.values())
    looks = {attack: next(iter(looks)) for attack, looks in of.items()}
    assert looks["FMN ℓ2 100"] == (looks["FMN ℓ2 1000"][0], "dot")
    assert looks["FMN ℓ2 1000"] == looks["FMN ℓ1 1000"]
    assert looks["FMN ℓ2 1000"][1] == "solid"
    assert len({colour for colour, _ in looks.values()}) == 3


def test_budgets_of_one_attack_look_different():
    def limited(steps: int, budget: int | None) -> Cell:
        suffix = "" if budget is None else f" ≤{budget}"
        return cell(attack=f"FMN ℓ2 {steps}{suffix}")

    for few, most in (
        (limited(1000, 200), limited(1000, 2000)),
        (limited(1000, 200), limited(1000, None)),
        (limited(100, None), limited(1000, 200)),
    ):
        assert palette.stem(few) == palette.stem(most) == "FMN ℓ2"
        for order in ((few, most), (most, few)):
            looks = palette.styles(groups.of(stored(*((each, [1.0]) for each in order))))
            styles = {each.attack: looks[number] for number, each in enumerate(order)}
            assert styles[most.attack].dash == "solid"
            assert styles[few.attack] == palette.Style(styles[most.attack].colour, "dot")


def test_twenty_attacks_look_different():
    attacks = [f"A{letter} ℓ2 {steps}" for letter in "abcdefghijklmno" for steps in (100, 1000)]
    styles = palette.styles(groups.of(draw(["A"], attacks, 10)))
    full = [style for number, style in styles.items() if number % 2]
    assert len({(style.colour, style.dash) for style in full}) == 15
    assert all(style.dash == "dot" for number, style in styles.items() if number % 2 == 0)


# curves


@given(st.lists(st.integers(0, 400) | st.just(INF), min_size=1, max_size=300), st.integers(2, 50))
def test_a_thinned_curve_is_nearly_the_whole(values: list[float], most: int):
    at, robust = metrics.robust_accuracy(np.array(values, dtype=np.float64))
    fewer, level = accuracy.thinned(at, robust, most)
    assert len(fewer) <= most
    assert set(fewer) <= set(at)
    thin = level[np.searchsorted(fewer, at, side="right") - 1]
    assert (np.abs(thin - robust) <= 1 / (most - 1) + 1e-12).all()
    if len(at) <= most:
        assert fewer.tolist() == at.tolist()


def test_curves_of_a_panel_are_the_robust_accuracy():
    folder = by_hand.paper_like(40)
    shown = report.of(folder)
    panel = accuracy.panel(shown.groups[4], shown.lines, shown.styles, 1000)
    assert panel.x_title == "LPIPS (paper's) ×10⁻² distance ε"
    trace = panel.figures[2].traces[1]
    line = shown.lines[shown.groups[4].entries[7].number]
    assert (panel.legend[trace.key].name, panel.figures[2].model) == (
        line.entry.cell.attack,
        line.entry.cell.model,
    )
    for epsilon in (0.0, 0.7, 1.9, 4.2):
        level = [y for x, y in zip(trace.x, trace.y, strict=True) if x <= epsilon][-1]
        assert level == pytest.approx(100 * np.mean(line.distances / 0.01 > epsilon), abs=1e-3)


def test_an_attack_within_one_radius_has_no_curve():
    ball = cell("Net", "APGD ℓ2 100", settings={"steps": 100, "budget": None, "fixed_radius": 0.5})
    shown = report.of(by_hand.stored((ball, [0.1, 0.2, INF]), (cell(), [0.1, 0.2, 3.0])))
    panel = accuracy.panel(shown.groups[0], shown.lines, shown.styles, 1000)
    assert [panel.legend[trace.key].name for trace in panel.figures[0].traces] == ["ALMA ℓ2 100"]
    alone = report.of(by_hand.stored((ball, [0.1, 0.2, INF])))
    assert accuracy.panel(alone.groups[0], alone.lines, alone.styles, 1000).figures == ()
    assert "all within one radius" in headline.lead(alone.groups, alone.lines)
    assert "attacks within one radius have no median" in headline.lead(shown.groups, shown.lines)
    (apgd, alma) = shown.lines.values()
    assert (apgd.searched, alma.searched) == (0.5, INF)
    elsewhere = cell(attack="APGD ℓ2 100", settings=ball.settings, column="linf")
    assert replace(apgd, entry=replace(apgd.entry, cell=elsewhere)).searched == INF


def test_the_axis_shows_the_better_half_of_the_attacks():
    usual, far = np.linspace(0.1, 1, 50), np.linspace(10, 1000, 50)
    assert 0.9 < accuracy.visible([usual, far]) < 1.2
    assert accuracy.visible([np.zeros(3), np.array([])]) == 1.0


def test_the_figure_for_print_draws_the_same_curves():
    shown = report.of(by_hand.paper_like(40))
    panel = accuracy.panel(shown.groups[1], shown.lines, shown.styles, 1000)
    figure = drawn.draw(panel)
    assert [axes.get_title() for axes in figure.axes] == [f.model for f in panel.figures]
    for axes, wanted in zip(figure.axes, panel.figures, strict=True):
        for line, trace in zip(axes.get_lines(), wanted.traces, strict=True):
            assert np.array_equal(line.get_xdata(), trace.x)
            assert np.array_equal(line.get_ydata(), trace.y)
            assert line.get_drawstyle() == "steps-post"
            assert line.get_color() == palette.LIGHT[panel.legend[trace.key].colour]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == sorted(label.name.replace("ℓ2", r"$\ell_{2}$") for label in panel.legend)


def test_convergence_is_drawn_where_traces_were_kept(tmp_path: Path):
    folder = by_hand.paper_like(20)
    shown = report.of(folder)
    panels = bench.page.convergence.of(folder, shown.groups, shown.styles, shown.rows)
    assert [panel.slug for panel in panels] == ["cifar-10-l2-convergence"]
    kept = folder.traces(cell("WRN 28-10", "ALMA ℓ2 100").id, range(20))
    spent, best = kept.propagations, kept.distances
    trace = panels[0].figures[0].traces[0]
    assert min(trace.x) == 11  # no median before the sixth query
    assert trace.y[-1] == pytest.approx(best[-1].median().item(), rel=1e-4)
    for x, y in zip(trace.x, trace.y, strict=True):
        assert y == pytest.approx(best[spent[:, 0] == x].median().item(), rel=1e-4)


def test_convergence_is_none_of_attacks_within_one_radius():
    folder = by_hand.paper_like(20)
    shown = report.of(folder)

    def within(entry: groups.Entry) -> groups.Entry:
        settings = {**entry.cell.settings, "fixed_radius": 0.3}
        return replace(entry, cell=entry.cell.model_copy(update={"settings": settings}))

    balls = [replace(group, entries=tuple(map(within, group.entries))) for group in shown.groups]
    assert bench.page.convergence.of(folder, balls, shown.styles, shown.rows) == ()


@pytest.mark.parametrize("population", ["all", "correct"])
def test_convergence_is_that_of_the_samples_in_the_tables(population: Population):
    folder = by_hand.paper_like(20)
    asked: dict[str, list[int]] = {}

    def recorded(of: str, samples: Sequence[int]) -> Trace | None:
        asked[of] = sorted(samples)
        return folder.traces(of, samples)

    # wrong, and not of the target class: attacked, but not among the samples that are classified correctly
    wrong = pl.when(pl.col("sample") == 3).then(pl.col("label") + 1).otherwise("clean_prediction")
    rows = folder.rows.with_columns(clean_prediction=wrong.cast(folder.rows.schema["clean_prediction"]))
    shown = report.of(replace(folder, rows=rows, traces=recorded), population)
    bench.page.convergence.of(shown.stored, shown.groups, shown.styles, shown.rows)
    drawn_cell = cell("WRN 28-10", "ALMA ℓ2 100").id
    counted = shown.rows.filter("counted").join(shown.cells, on="entry").filter(pl.col("cell") == drawn_cell)
    assert asked[drawn_cell] == sorted(counted["sample"])
    assert (3 in asked[drawn_cell]) is (population == "all")


@pytest.mark.parametrize(("attack", "most"), [("ALMA ℓ2 100 ≤200", 200), ("Auto ℓ2 100 ≤200", 400)])
def test_autos_budget_is_one_of_forwards_and_one_of_backwards(attack: str, most: int):
    shown = report.of(stored((cell(attack=attack), [1.0, 2.0])))
    ((row,),) = (block.rows for block in bench.page.spending.table(shown.groups[0], shown.lines).blocks)
    assert row[4].text == str(most)
    assert row[5].order == pytest.approx(100 * row[2].order / most)


def test_axis_titles_are_short_and_keep_the_power_of_ten():
    folder = by_hand.paper_like(20)
    shown = report.of(folder)
    panels = [bench.page.spending.panel(group, shown.lines, shown.styles) for group in shown.groups]
    titles = {group.symbol: panel.y_title for group, panel in zip(shown.groups, panels, strict=True)}
    assert (titles["CIEDE2000 (paper's scale)"], titles["LPIPS (paper's)"]) == ("median", "median ×10⁻²")
    (progress,) = bench.page.convergence.of(folder, shown.groups, shown.styles, shown.rows)
    assert progress.y_title == "median"


# the gallery


def test_the_gallery_shows_easy_typical_and_hard_samples_of_each_model():
    folder = by_hand.paper_like(60)
    shown = report.of(folder)
    chosen = selection.choose(shown.rows, shown.cells)
    assert list(chosen) == [(folder.cells[0].data, model) for model in shown.groups[0].models]
    for samples in chosen.values():
        # the distances drawn by hand grow with the sample's number
        assert samples["easy"] < samples["typical"] < samples["hard"]
        assert samples["easy"] >= 1  # sample 0 was wrong from the start
    gallery = showcase.of(folder, shown.rows, shown.cells, shown.groups)
    assert [[strip.kind for strip in found.strips] for found in gallery] == [["easy", "typical", "hard"]] * 3
    cards = gallery[0].strips[0].cards
    assert len(cards) == selection.MOST
    sample = gallery[0].strips[0].sample
    best = shown.rows.join(shown.cells, on="entry").filter(
        (pl.col("model") == "WRN 28-10") & (pl.col("sample") == sample) & (pl.col("compared_by") == "l1")
    )
    assert cards[0].attack == best.sort("value")["attack"][0]


def test_the_gallery_has_one_scale_for_each_distance():
    ssim = cell("Net", "ALMA SSIM 9", minimises="ssim", column="ssim")
    other = cell("Net", FMN)
    frame = rows(other, [2.0]).with_columns(ssim=pl.Series([0.0005066]), l0=pl.Series([150528.0]))
    folder = stored((ssim, [1.834e-5]), (other, frame))
    shown = report.of(folder)
    cards = showcase.of(folder, shown.rows, shown.cells, shown.groups)[0].strips[0].cards
    distances = [[card.distance, *card.others] for card in cards]
    said = [text for each in distances for text in each if "SSIM" in text]
    assert said == ["1 − SSIM 0.1834 ×10⁻⁴", "1 − SSIM 5.066 ×10⁻⁴"]
    assert f"ℓ0 150{THIN}528" in distances[1]


@pytest.mark.parametrize(("channels", "beside"), [(1, "three two"), (3, "three")])
def test_an_original_is_as_large_as_its_adversarials(tmp_path: Path, channels: int, beside: str):
    page = page_of(tmp_path, replace(stored((cell(), [1.0])), pictures=Shelf(channels=channels).pictures))
    found = re.findall(r'<figure(?: class="original")?><div class="([a-z ]+)">', page)
    assert found == [beside, beside]


def test_the_colour_map_is_that_of_ciede2000_on_the_correct_scale():
    folder = by_hand.paper_like(10)
    shown = report.of(folder)
    strip = showcase.of(folder, shown.rows, shown.cells, shown.groups)[0].strips[0]
    card = strip.cards[0]
    of = next(found for found in folder.cells if (found.model, found.attack) == ("WRN 28-10", card.attack))
    found = Shelf().pictures(of.id, [strip.sample])
    images = [image[0].double().numpy().transpose(1, 2, 0) for image in (found.originals, found.adversarials)]
    expected = color.deltaE_ciede2000(*map(color.rgb2lab, images))
    assert card.colours is not None
    assert float(card.colours[1]) == pytest.approx(expected.max(), rel=5e-3)
    coloured = pictures.heat(torch.from_numpy(expected))
    assert coloured.shape == (3, 32, 32)
    assert coloured.sum(dim=0).numpy().argmax() == expected.argmax()
    assert pictures.heat(torch.zeros(2, 2)).amax() < 0.02
    assert (
        pictures.compact_uri(pictures.heat(CIEDE2000().map(found.adversarials, found.originals)[0]))
        == card.colours[0]
    )


def test_pictures_stay_within_their_bytes_and_other_tensors_are_not_shown():
    folder = by_hand.paper_like(20)
    large = replace(folder, pictures=Shelf(side=224).pictures)
    shown = report.of(large)
    gallery = showcase.of(large, shown.rows, shown.cells, shown.groups)
    sizes = [
        len(strip.original) + sum(card.bytes for card in strip.cards)
        for found in gallery
        for strip in found.strips
    ]
    assert 0 < sum(sizes) <= showcase.BYTES
    assert not any(found.pixelated for found in gallery)
    assert len(gallery) == 3  # every model before a second sample of one
    none = replace(folder, pictures=by_hand.NO_PICTURES)
    assert showcase.of(none, shown.rows, shown.cells, shown.groups) == ()


# the page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_one_file_that_escapes_every_name(tmp_path: Path):
    page = page_of(tmp_path, by_hand.nasty())
    parser = Tags()
    parser.feed(page)
    scripts = [facts for tag, facts in parser.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "panels"}, {}, {}]
    assert page.count("</script>") == 3
    for tag, facts in parser.tags:
        for name in ("src", "href"):
            address = facts.get(name) or "#"
            assert address.startswith(("data:", "#")) or address.endswith((".md", ".tex", ".parquet")), (
                tag,
                address,
            )
    ids = [facts["id"] for _, facts in parser.tags if "id" in facts]
    assert len(ids) == len(set(ids))
    data = re.search(r'id="panels">(.*?)</script>', page, re.DOTALL)
    assert data
    assert "\u2028" not in data[1]
    assert json.loads(data[1])[0]["legend"][0]["name"] == NASTY
    assert page.index("</span> randomness") < page.index("</span> probabilities")  # problems first
    assert "Not all samples are done" in page


@pytest.mark.parametrize("samples", [(), (0, 1)])
def test_a_folder_without_results_has_a_page(tmp_path: Path, samples: tuple[int, ...]):
    folder = stored((cell(), []))
    planned = folder.planned[0].model_copy(update={"samples": samples})
    page = page_of(tmp_path, replace(folder, planned=(planned,)))
    assert "No attack has a finite median yet" in page


def test_a_folder_without_a_plan_and_a_shard_says_that_nothing_was_computed(tmp_path: Path):
    """A benchmark that was killed at once."""
    said: list[str] = []
    page = page_of(tmp_path, replace(stored((cell(), [])), planned=()), say=said.append)
    assert said == ["Nothing has been computed yet."]
    assert said[0] in page
    assert "complete" not in page[page.index('class="lead"') : page.index("</header>")]


def test_a_sole_attack_for_each_distance_is_the_reason_that_none_is_best():
    folder = stored((cell("Net", FMN), [1.0, 2.0]), (cell("Net", DDN, minimises="l1", column="l1"), [3.0, 4.0]))
    shown = report.of(folder)
    assert headline.lead(shown.groups, shown.lines) == (
        "2 attacks on 1 model, 2 samples each: none is called the best, as there is only one attack for each "
        "distance."
    )


FMN, DDN = "FMN ℓ2 9", "DDN 9"
HALF_WRONG = [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            {("Net", FMN): [1.0], ("Net", DDN): [2.0]},
            "FMN ℓ2 9 has the smallest median ℓ2 on Net (median 1.00)",
        ),
        (
            {("Net", FMN): [1.0], ("Net", DDN): [1.0]},
            "DDN 9 and FMN ℓ2 9 have the smallest median ℓ2 on Net",
        ),
        (  # as bold numbers, which are rounded
            {("Net", FMN): [1.001], ("Net", DDN): [1.002]},
            "DDN 9 and FMN ℓ2 9 have the smallest median ℓ2 on Net (median 1.00)",
        ),
        (
            {("Net", FMN): HALF_WRONG, ("Net", DDN): HALF_WRONG},
            "Every finite median is 0, as at least half of the samples are adversarial from the start, among",
        ),
        (
            {
                ("Bad", FMN): HALF_WRONG,
                ("Bad", DDN): HALF_WRONG,
                ("Net", FMN): [3.0],
                ("Net", DDN): [2.0],
            },
            "DDN 9 has the smallest median ℓ2 on Net (median 2.00)",
        ),
    ],
)
def test_the_headline_names_ties_and_no_medians_of_0(cells: dict[tuple[str, str], list[float]], said: str):
    shown = report.of(stored(*((cell(model, attack), values) for (model, attack), values in cells.items())))
    assert headline.lead(shown.groups, shown.lines).startswith(said)


def test_the_headline_compares_complete_attacks_of_the_same_samples_only(tmp_path: Path):
    """Neither a sole attack nor one that has only begun wins."""
    alone = stored((cell("Net", FMN), [1.0, 2.0]), (cell("Bad", DDN), [3.0, 4.0]))
    shown = report.of(alone)
    assert headline.lead(shown.groups, shown.lines) == (
        "2 attacks on 2 models, 2 samples each: none is called the best, as no two are complete on the same "
        "samples of a model."
    )
    assert not any(row[2].best for block in shown.tables[0].blocks for row in block.rows)
    pairs = [(cell("Net", FMN), [1.0, 2.0]), (cell("Net", DDN), [3.0, 4.0])]
    begun = stored(*pairs, (cell("Bad", FMN), [1.5]), (cell("Bad", DDN), []))
    asked = [one.model_copy(update={"samples": (0, 1)}) for one in begun.planned]
    shown = report.of(replace(begun, planned=tuple(asked)))
    said = "FMN ℓ2 9 has the smallest median ℓ2 on Net (median 1.00)"
    assert headline.lead(shown.groups, shown.lines).startswith(said)
    assert not any(row[3].best for row in shown.tables[1].blocks[0].rows)
    others = [(of.model_copy(update={"id": of.id[::-1], "column": "l1"}), values) for of, values in pairs]
    assert "best on Net, median 1.00" in page_of(tmp_path, by_hand.merged(begun, stored(*others)))


def test_a_mean_over_models_needs_the_winner_on_all_of_them():
    cells = {("A", FMN): 1.0, ("A", DDN): 2.0, ("B", DDN): 5.0, ("B", "CW 9"): 4.0, ("C", FMN): 1.0}
    shown = report.of(stored(*((cell(*names), [value]) for names, value in cells.items())))
    (winner,) = headline.winners(shown.groups, shown.lines)
    assert winner.sentence == (
        "CW 9 and FMN ℓ2 9 have the smallest median ℓ2 on 1 of 2 models where attacks compare (geometric mean –)"
    )


def test_the_page_says_which_population_was_used(tmp_path: Path):
    folder = by_hand.paper_like(20)
    assert "Statistics are over all samples" in page_of(tmp_path, folder)
    assert "that the model classifies correctly" in page_of(tmp_path, folder, population="correct")


def test_with_a_target_only_samples_of_its_class_count_as_successes_at_once():
    plain, targeted = (cell(), [1.0]), (cell(goal="target 3", id=hashes.digest("targeted")), [1.0])
    wrong, reached = "one that the model misclassifies from", "one that the model takes for the target class from"
    said = [headline.population(report.of(stored(*cells)).groups, None) for cells in ([plain], [targeted])]
    assert wrong in said[0]
    assert reached in said[1]
    both = headline.population(report.of(stored(plain, targeted)).groups, None)
    assert "misclassifies (with a target: that the model takes for the target class) from the start" in both


def test_samples_that_were_not_attacked_are_not_claimed():
    folder = stored((cell(population="correct"), [1.0, 2.0]))
    said = {asked: headline.population(report.of(folder).groups, asked) for asked in (None, "all", "correct")}
    assert said["all"] == (
        "Only samples that the model classifies correctly were attacked, so statistics are over those."
    )
    assert said[None] == said["correct"] == "Statistics are over the samples that the model classifies correctly."
    mixed = stored((cell(), [1.0]), (cell(model="Other", population="correct"), [1.0]))
    assert headline.population(report.of(mixed).groups, "all").startswith("Some cells' statistics")
    assert headline.population(report.of(mixed).groups, "correct") == said["correct"]


def test_an_unknown_format_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="formats must be among html, md"):
        bench.write(tmp_path, by_hand.nasty(), formats=("docx",))


def test_a_page_of_twenty_attacks_on_a_thousand_samples_is_light(tmp_path: Path):
    attacks = [f"{name} ℓ2 {steps}" for name in "ABCDEFGHIJ" for steps in (100, 1000)]
    page = page_of(tmp_path, draw(["A network", "Another"], attacks, 1000))
    assert 5_000_000 < len(page.encode()) < 10_000_000


def test_a_damaged_shard_leaves_its_pictures_out(tmp_path: Path):
    def damaged(of: str, samples: object) -> object:
        raise bench.showcase.DamagedError("tensors.safetensors was altered")

    assert "Gallery</h2>" not in page_of(tmp_path, replace(by_hand.paper_like(10), pictures=damaged))


# the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = by_hand.PAPER_MODELS
    attacks = [f"{name} ℓ2 {steps}" for name in ("DDN", "FMN", "ALMA") for steps in (100, 1000)]
    shelf = Shelf(traced=frozenset(cell(model, "ALMA ℓ2 100").id for model in models))
    folder = draw(models, [*attacks, "FAB ℓ2 100"], 60, shelf=shelf, paper="cifar10")
    return bench.write(tmp_path_factory.mktemp("folder"), folder, formats=("html",))


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_every_figure_is_drawn_without_an_error(browser: object, written: Path, width: int, scheme: str):
    with opened(browser, written, width, scheme) as tab:
        count = tab.evaluate("document.querySelectorAll('.plot').length")
        assert tab.evaluate("document.querySelectorAll('.plot .main-svg').length") < count  # lazily
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")  # printing draws all
        tab.wait_for_function(
            f"document.querySelectorAll('.plot svg.main-svg .xaxislayer-above').length >= {count}"
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert tab.problems == []
        assert tab.requests == [written.as_uri()]


@needs_browser
def test_a_click_in_the_legend_hides_the_attack_for_every_model(browser: object, written: Path):
    plots = "[...document.querySelectorAll('.plot[data-panel=cifar-10-l2]')]"
    shown = f"{plots}.map(p => p.querySelectorAll('.trace').length)"
    with opened(browser, written) as tab:
        tab.evaluate("document.querySelector('.legend[data-panel=cifar-10-l2]').scrollIntoView()")
        tab.wait_for_function(f"{shown}.join() === '7,7,7'")
        button = tab.locator(".legend[data-panel=cifar-10-l2] button", has_text="DDN ℓ2 1000")
        button.click()
        tab.wait_for_function(f"{shown}.join() === '6,6,6'")
        assert button.get_attribute("aria-pressed") == "false"
        names_shown = "p => p.data.filter(t => t.visible).map(t => t.name)"
        drawn_names = tab.locator(".plot[data-panel=cifar-10-l2]").first.evaluate(names_shown)
        assert "DDN ℓ2 1000" not in drawn_names
        assert len(drawn_names) == 6
        button.press("Enter")
        tab.wait_for_function(f"{shown}.join() === '7,7,7'")
        button.dblclick()
        tab.wait_for_function(f"{shown}.join() === '1,1,1'")
        assert tab.problems == []


@needs_browser
def test_a_table_sorts_within_its_models(browser: object, written: Path):
    rows_now = """() => [...document.querySelector('table.results').tBodies].map(body => [
        body.querySelector('th.side').textContent, body.rows[1].firstElementChild.tagName,
        [...body.rows].slice(1).map(row => row.querySelector('td[data-c="3"]').dataset.v)])"""
    with opened(browser, written) as tab:
        before = tab.evaluate(rows_now)
        button = tab.locator("table.results").first.locator("th button[data-c='3']")
        for order, expected in (("ascending", False), ("descending", True)):
            button.press("Enter")
            after = tab.evaluate(rows_now)
            assert [(name, tag) for name, tag, _ in after] == [(name, "TH") for name, _, _ in before]
            for (_, _, was), (_, _, now) in zip(before, after, strict=True):
                assert now == sorted(was, key=float, reverse=expected)
            assert button.locator("..").get_attribute("aria-sort") == order
        assert tab.problems == []


@needs_browser
def test_the_median_is_seen_on_a_phone(browser: object, written: Path):
    right = "table => table.tBodies[0].rows[1].querySelector('td[data-c=\"3\"]').getBoundingClientRect().right"
    heads = """table => [...table.querySelectorAll('tbody th')].filter(th => th.checkVisibility())
        .map(th => th.innerText)"""
    for width in (360, 1280):
        with opened(browser, written, width) as tab:
            table = tab.locator("table.results").first
            assert table.evaluate(heads) == list(by_hand.PAPER_MODELS)
            assert table.evaluate(right) <= width
            assert tab.problems == []


@needs_browser
@pytest.mark.parametrize("width", [360, 1100, 1400])
def test_captions_of_the_gallery_stay_apart(browser: object, written: Path, width: int):
    overflow = "spans => spans.filter(span => span.scrollWidth > span.clientWidth).map(span => span.innerText)"
    with opened(browser, written, width) as tab:
        captions = tab.locator(".strip .three span")
        assert captions.count() > 0
        assert captions.evaluate_all(overflow) == []


@needs_browser
def test_a_figure_can_be_zoomed_without_a_mouse(browser: object, written: Path):
    context = browser.new_context(viewport={"width": 360, "height": 800}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.goto(written.as_uri())
    assert tab.locator(".touch").is_visible()
    assert not tab.locator(".mouse").is_visible()
    plot = tab.locator(".plot").first
    plot.scroll_into_view_if_needed()
    span = "p => p.layout.xaxis.range[1] - p.layout.xaxis.range[0]"
    plot.locator(".modebar-btn[data-title='Zoom in']").wait_for()
    assert plot.evaluate("p => [...p.querySelectorAll('.modebar-btn')].map(each => each.dataset.title)") == [
        "Zoom",
        "Pan",
        "Zoom in",
        "Zoom out",
        "Reset axes",
    ]  # and none that sends data away
    before = plot.evaluate(span)
    plot.locator(".modebar-btn[data-title='Zoom in']").tap()
    tab.wait_for_function(f"({span})(document.querySelector('.plot')) < {0.8 * before}")
    context.close()


@needs_browser
def test_nasty_names_do_nothing(browser: object, tmp_path: Path):
    path = bench.write(tmp_path, by_hand.nasty(), formats=("html",))
    with opened(browser, path, 360) as tab:
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        tab.wait_for_function("document.querySelectorAll('.plot .trace').length >= 2")
        assert tab.title() == f"{NASTY} · minadv"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert tab.problems == []


@needs_browser
def test_a_change_of_colours_is_followed(browser: object, written: Path):
    colour = "p => p.layout.font.color"
    with opened(browser, written) as tab:
        first = tab.locator(".plot").first
        first.scroll_into_view_if_needed()
        tab.wait_for_function("document.querySelector('.plot .trace')")
        light = first.evaluate(colour)
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function(f"document.querySelector('.plot').layout.font.color !== '{light}'")
        assert tab.problems == []


def test_columns_share_heads_from_left_to_right():
    columns = (Column("", "a"), Column("x", "b"), Column("x", "c"), Column("", "d"))
    table = Table("t", "t", columns, (Block("", ()),))
    assert table.heads == (("", 1), ("x", 2), ("", 1))
    assert not table.grouped


def test_samples_of_a_failed_shard_are_rows_without_numbers(tmp_path: Path):
    found = by_hand.nasty()
    bench.write(tmp_path, found, formats=())
    rows = pl.read_parquet(tmp_path / "report" / "results.parquet").filter(pl.col("status") == "error")
    (failure,) = found.failures
    done = set(found.rows.filter(pl.col("cell") == failure.cell.id)["sample"].to_list())
    assert rows["sample"].to_list() == [number for number in failure.samples if number not in done]
    assert len(rows) > 0
    assert rows["attack"].unique().to_list() == [failure.cell.attack]
    assert not rows["success"].any()
    assert rows["distance"].null_count() == len(rows)


def diagnosis(of: Cell, samples: int = 5, **changes: object) -> Diagnosis:
    facts = {
        "name": hashes.digest(of.model, str(samples)),
        "model": of.model,
        "model_hash": of.model_hash,
        "samples": samples,
    }
    return Diagnosis.model_validate(facts | {"checks": ("randomness",), "findings": ()} | changes)


ALL_CLEAR = "Nothing was found that makes these results doubtful"


def test_a_model_that_was_not_checked_is_said_to_be(tmp_path: Path):
    one, other = cell(model="Zebra"), cell(model="Ape")
    folder = stored((one, [1.0, 2.0]), (other, [1.0, 2.0]))
    for diagnoses, unchecked in (((), ["Zebra", "Ape"]), ((diagnosis(other),), ["Zebra"])):
        page = page_of(tmp_path, replace(folder, diagnoses=diagnoses))
        assert re.findall(r"<strong>(\w+)</strong> was not checked", page) == unchecked
        assert ALL_CLEAR not in page
    # files come in any order, and a model may have been checked twice
    both = (diagnosis(other), diagnosis(one, 9), diagnosis(one, 4))
    page = page_of(tmp_path, replace(folder, diagnoses=both))
    assert re.findall(r"<strong>(\w+)</strong> was checked on (\d+) samples", page) == [
        ("Zebra", "9"),
        ("Ape", "5"),
    ]
    assert ALL_CLEAR in page
    assert "was not checked" not in page


def test_models_that_were_checked_and_what_is_absent_are_said_once(tmp_path: Path):
    found = by_hand.nasty()
    page = bench.write(tmp_path, found, formats=("html",)).read_text(encoding="utf-8")
    assert "was checked on 7 samples for probabilities, randomness: 2 findings." in page
    assert page.count("not available</span>") == len({planned.unavailable for planned in found.planned} - {None})


def test_a_sample_with_another_label_is_another_sample():
    before = cell(attack="FMN ℓ2 100")
    wrong = rows(before, [0.0, 0.0, 2.0]).with_columns(label=pl.Series([3, 3, 2]))
    shown = report.of(stored((cell(), [1.0, 2.0, 3.0]), (before, wrong)))
    assert shown.rows["best"].to_list() == [1.0, 2.0, 2.0, 0.0, 0.0, 2.0]
    found = scored.envelope(shown.rows, shown.cells, shown.beyond).filter(distance="l2")
    assert sorted(found.select("sample", "label", "best").rows()) == [
        (0, 0, 1.0),
        (0, 3, 0.0),
        (1, 1, 2.0),
        (1, 3, 0.0),
        (2, 2, 2.0),
    ]


def test_answers_count_for_others_that_are_as_far_beyond_the_boundary():
    def confident(confidence: float, name: str) -> Cell:
        of = cell(attack=name)
        return of.model_copy(update={"settings": {**of.settings, "confidence": confidence}})

    far, near = confident(5.0, "FMN ℓ2 100"), confident(1e-4, "DDN ℓ2 100")
    deep = rows(far, [4.0, 4.0]).with_columns(margin=pl.Series([-5.0, -5.0]))
    shallow = rows(near, [1.0, 2.0]).with_columns(margin=pl.Series([-1e-4, -6.0]))
    shown = report.of(stored((far, deep), (near, shallow)))
    assert shown.rows["best"].to_list() == [4.0, 2.0, 1.0, 2.0]


def test_an_attack_within_one_radius_has_no_median_and_does_not_win():
    ball = cell("Net", "APGD ℓ2 100", settings={"steps": 100, "budget": None, "fixed_radius": 0.5})
    shown = report.of(stored((ball, [0.1, 0.2, INF]), (cell(), [0.2, 0.3, 3.0])))
    line, other = shown.lines.values()
    assert all(map(math.isnan, (line.median, line.mean, line.optimality)))
    assert line.asr == pytest.approx(2 / 3)
    assert other.optimality < 1  # its answers are known all the same
    assert results.compared([line, other]) == []
    assert results.NOTE_RADIUS in shown.tables[0].notes
    assert results.robust(line, [0.1, 0.5, 0.7])[1] == pytest.approx(1 / 3)
    assert [math.isnan(share) for share in results.robust(line, [0.1, 0.50001, 0.7])] == [True, False, True]


def test_means_over_models_leave_out_counts_of_models_with_nothing_to_attack():
    easy, hard = cell("Easy"), cell("Hard")
    also = cell("Easy", "DDN 100"), cell("Hard", "DDN 100")
    shown = report.of(
        stored(
            (easy, [0.0, 0.0, 0.0]),
            (hard, [1.0, 2.0, 3.0]),
            (also[0], [0.0, 0.0, 0.0]),
            (also[1], [1.0, 2.0, 3.0]),
        )
    )
    table = next(table for table in shown.tables if table.slug.endswith("-overall"))
    counts = next(i for i, column in enumerate(table.columns) if column.head == "forwards / backwards")
    assert all(row[counts].text != "–" for row in table.blocks[0].rows)
    assert not any(value.best for row in table.blocks[0].rows for value in row)
    (group,) = shown.groups
    spent = spending.table(group, shown.lines)
    assert all(row[3].text not in ("–", "") for row in spent.blocks[0].rows)


def test_rows_of_latex_that_begin_with_a_bracket_stay_rows():
    assert latex.escape("[mine] 1") == "{}[mine] 1"
    assert latex.escape("*mine").startswith("{}")
    assert latex.escape("mine [1]") == "mine [1]"
