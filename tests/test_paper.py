"""The paper's tables as data: against the paper's text, cell by cell and by value."""

import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from minadv import paper
from minadv.attacks import tables
from minadv.paper import geometric
from tests.shared import ROOT

INF = math.inf
SEED = ROOT.parent / "shared" / "seed"
COUNTS = {4: 32, 5: 44, 6: 24, 7: 33, 8: 15, 9: 12, 10: 6, 11: 24, 12: 33, 13: 15, 14: 12, 15: 6}
MODELS = {
    "mnist": ("SmallCNN", "SmallCNN DDN", "SmallCNN TRADES", "CROWN-IBP"),
    "cifar10": ("WRN 28-10", "WRN 28-10 Carmon et al.", "RN-50 Augustin et al."),
    "imagenet": ("RN-50", "RN-50 ℓ2-AT", "RN-50 ℓ∞-AT"),
}


def cells_of_the_text() -> dict[int, list[tuple[str, ...]]]:
    """ASR, median, and propagations of every row in the appendix's text, without spaces, by table."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SEED.glob("*.txt")))
    found: dict[int, list[tuple[str, ...]]] = {}
    rows: list[tuple[str, ...]] = []
    for line in text.splitlines():
        cells = [re.sub(r"\s", "", cell) for cell in line.strip("| ").split("|")]
        if caption := re.search(r"Table (\d+): Performance", line):
            found[int(caption[1])], rows = rows, []
        elif line.startswith("|") and re.fullmatch(r"[\d.]+", cells[-3] if len(cells) > 2 else ""):
            rows.append(tuple(cells[-3:]))
    return found


@pytest.mark.skipif(not SEED.is_dir(), reason=f"needs the paper's text (looked at {SEED})")
def test_every_number_is_the_text_s() -> None:
    found = cells_of_the_text()
    assert found.keys() == COUNTS.keys()
    for table, cells in found.items():
        for row, (asr, median, propagations) in zip(paper.rows(table), cells, strict=True):
            assert row.asr == float(asr)
            assert row.printed == median.replace("-", "–")
            assert propagations in (f"{row.forwards}/{row.backwards}", f"{row.forwards}{row.backwards}")


def test_rows_per_table() -> None:
    assert {number: len(paper.rows(number)) for number in paper.TABLES} == COUNTS
    assert Counter(row.table for row in paper.rows()) == COUNTS
    assert [row.table for row in paper.rows()] == sorted(row.table for row in paper.rows())
    with pytest.raises(ValueError, match=r"table must be one of 4, 5, 6, .*15, got 3"):
        paper.rows(3)


@pytest.mark.parametrize("number", COUNTS)
def test_tables_list_the_attacks_and_models_that_we_run(number: int) -> None:
    table, rows = paper.TABLES[number], paper.rows(number)
    attacks = tuple(tables.rows("lpips:trunk=demo" if table.distance == "lpips" else table.distance, table.data))
    expected = [(model, attack) for model in MODELS[table.data] for attack in attacks]
    assert [(row.model, row.attack) for row in rows] == expected
    assert {(row.data, row.distance) for row in rows} == {(table.data, table.distance)}
    assert (table.models, table.attacks) == (MODELS[table.data], attacks)


def test_every_data_set_and_distance_of_the_tables_is_there() -> None:
    pairs = [(table.data, table.distance) for table in paper.TABLES.values()]
    assert set(pairs) == {("mnist", "l1"), ("mnist", "l2")} | {
        (data, distance)
        for data in ("cifar10", "imagenet")
        for distance in ("l1", "l2", "ciede2000", "lpips", "ssim")
    }
    assert len(set(pairs)) == len(pairs)


# (table, data, distance, model, attack) → ASR, median in the distance's own unit, forwards, backwards
CELLS = [
    (4, "mnist", "l1", "SmallCNN", "EAD 9×100", 100, 8.41, 870, 439),
    (4, "mnist", "l1", "SmallCNN", "FMN ℓ1 100", 95.02, 6.50, 100, 100),
    (4, "mnist", "l1", "SmallCNN DDN", "FAB ℓ1 1000", 100, 15.42, 2001, 10000),
    (4, "mnist", "l1", "SmallCNN TRADES", "EAD 9×1000", 100, 12.15, 6409, 3208),
    (4, "mnist", "l1", "SmallCNN TRADES", "FMN ℓ1 100", 50.30, 42.02, 100, 100),
    (4, "mnist", "l1", "CROWN-IBP", "FAB ℓ1 100", 99.99, 147.79, 201, 1000),
    (4, "mnist", "l1", "CROWN-IBP", "FMN ℓ1 100", 49.89, INF, 100, 100),
    (4, "mnist", "l1", "CROWN-IBP", "ALMA ℓ1 1000", 100, 5.65, 1000, 1000),
    (5, "mnist", "l2", "SmallCNN", "FAB ℓ2 1000", 100, 1.36, 2001, 10000),
    (5, "mnist", "l2", "SmallCNN", "APGD^T ℓ2", 100, 1.31, 13082, 13062),
    (5, "mnist", "l2", "SmallCNN TRADES", "C&W ℓ2 9×10000", 99.97, 2.28, 90000, 90000),
    (5, "mnist", "l2", "CROWN-IBP", "C&W ℓ2 9×1000", 2.61, INF, 9000, 9000),
    (5, "mnist", "l2", "CROWN-IBP", "C&W ℓ2 9×10000", 2.63, INF, 90000, 90000),
    (5, "mnist", "l2", "CROWN-IBP", "APGD^T ℓ2", 99.94, 3.57, 9286, 9273),
    (6, "cifar10", "l1", "WRN 28-10", "FAB ℓ1 100", 92.3, 1.27, 200, 1000),
    (6, "cifar10", "l1", "WRN 28-10 Carmon et al.", "EAD 9×1000", 100, 6.07, 3760, 1884),
    (6, "cifar10", "l1", "RN-50 Augustin et al.", "FMN ℓ1 1000", 100, 9.79, 1000, 1000),
    (7, "cifar10", "l2", "WRN 28-10", "APGD^T ℓ2", 100, 0.09, 4336, 4312),
    (7, "cifar10", "l2", "WRN 28-10 Carmon et al.", "FAB ℓ2 1000", 100, 0.71, 2001, 10000),
    (7, "cifar10", "l2", "RN-50 Augustin et al.", "C&W ℓ2 9×10000", 100, 0.95, 73869, 73867),
    (8, "cifar10", "ciede2000", "WRN 28-10", "C&W CIEDE2000 9×1000", 100, 0.23, 7741, 7740),
    (8, "cifar10", "ciede2000", "WRN 28-10 Carmon et al.", "PerC-AL 1000", 100, 5.82, 2001, 1000),
    (8, "cifar10", "ciede2000", "RN-50 Augustin et al.", "ALMA CIEDE2000 1000", 99.8, 1.58, 1000, 1000),
    (9, "cifar10", "lpips", "WRN 28-10", "C&W LPIPS 9×1000", 100, 0.0032, 4565, 4560),
    (9, "cifar10", "lpips", "RN-50 Augustin et al.", "LPA", 100, 0.0642, 1133, 1123),
    (9, "cifar10", "lpips", "RN-50 Augustin et al.", "ALMA LPIPS 100", 99.9, 0.0766, 100, 100),
    (10, "cifar10", "ssim", "WRN 28-10", "ALMA SSIM 1000", 100, 0.00001, 1000, 1000),
    (10, "cifar10", "ssim", "WRN 28-10 Carmon et al.", "ALMA SSIM 100", 100, 0.00075, 100, 100),
    (10, "cifar10", "ssim", "RN-50 Augustin et al.", "ALMA SSIM 100", 100, 0.00041, 100, 100),
    (11, "imagenet", "l1", "RN-50", "FAB^T ℓ1 100", 74.4, 9.01, 1810, 900),
    (11, "imagenet", "l1", "RN-50 ℓ2-AT", "FAB^T ℓ1 1000", 93.2, 33.58, 18010, 9000),
    (11, "imagenet", "l1", "RN-50 ℓ∞-AT", "EAD 9×100", 100, 6.40, 582, 295),
    (12, "imagenet", "l2", "RN-50", "APGD^T ℓ2", 100, 0.09, 4866, 4838),
    (12, "imagenet", "l2", "RN-50", "C&W ℓ2 9×1000", 100, 0.21, 8775, 8775),
    (12, "imagenet", "l2", "RN-50 ℓ2-AT", "C&W ℓ2 9×10000", 99.9, 1.17, 57004, 52000),
    (12, "imagenet", "l2", "RN-50 ℓ∞-AT", "FMN ℓ2 1000", 99.7, 0.57, 1000, 1000),
    (13, "imagenet", "ciede2000", "RN-50", "PerC-AL 100", 100, 1.31, 201, 100),
    (13, "imagenet", "ciede2000", "RN-50 ℓ2-AT", "PerC-AL 1000", 99.9, 6.07, 2001, 1000),
    (13, "imagenet", "ciede2000", "RN-50 ℓ∞-AT", "ALMA CIEDE2000 1000", 100, 1.46, 1000, 1000),
    (14, "imagenet", "lpips", "RN-50", "C&W LPIPS 9×1000", 100, 0.0239, 2332, 2325),
    (14, "imagenet", "lpips", "RN-50 ℓ2-AT", "LPA", 100, 0.0683, 1257, 1247),
    (14, "imagenet", "lpips", "RN-50 ℓ∞-AT", "ALMA LPIPS 1000", 100, 0.0211, 1000, 1000),
    (15, "imagenet", "ssim", "RN-50", "ALMA SSIM 1000", 100, 0.0000005, 1000, 1000),
    (15, "imagenet", "ssim", "RN-50 ℓ2-AT", "ALMA SSIM 100", 100, 0.0001613, 100, 100),
    (15, "imagenet", "ssim", "RN-50 ℓ∞-AT", "ALMA SSIM 1000", 100, 0.0000277, 1000, 1000),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell[0]}-{cell[3]}-{cell[4]}")
def test_cells_by_value(cell: tuple[int, str, str, str, str, float, float, int, int]) -> None:
    table, data, distance, model, attack, *numbers = cell
    row = paper.find(data, distance, model, attack)
    assert row is not None
    assert row.table == table
    assert [row.asr, row.median, row.forwards, row.backwards] == numbers


def test_dashes_are_infinite_medians_below_half() -> None:
    infinite = [(row.table, row.model, row.attack) for row in paper.rows() if row.median == INF]
    assert infinite == [
        (4, "CROWN-IBP", "FMN ℓ1 100"),
        (5, "CROWN-IBP", "C&W ℓ2 9×1000"),
        (5, "CROWN-IBP", "C&W ℓ2 9×10000"),
    ]
    for row in paper.rows():
        assert (row.asr < 50) == (row.median == INF) == (row.printed == "–")
        assert 0 < row.asr <= 100
        assert row.median > 0


def test_units_and_prints() -> None:
    assert {number: table.unit for number, table in paper.TABLES.items()} == (
        dict.fromkeys(COUNTS, 1.0) | {9: 1e-2, 10: 1e-4, 14: 1e-2, 15: 1e-5}
    )
    row = paper.find("cifar10", "lpips", "WRN 28-10", "ALMA LPIPS 1000")
    assert row is not None
    assert (row.printed, row.unit, row.median) == ("0.12", 0.01, 0.0012)
    assert paper.find("cifar10", "lpips", "WRN 28-10", "ALMA LPIPS 10") is None


def test_propagations_follow_from_the_attacks() -> None:
    """A check of what was read, as a digit lost from the print would break these."""
    for row in paper.rows():
        family, extra = row.attack.split()[0], row.forwards - row.backwards
        steps = int(row.attack.split("×")[-1].split()[-1]) if row.attack[-1] == "0" else 0
        if family in ("ALMA", "DDN", "FMN"):
            assert row.forwards == row.backwards == steps
        elif family == "PerC-AL":
            assert (row.forwards, row.backwards) == (2 * steps + 1, steps)
        elif family == "FAB":
            assert (row.forwards in (2 * steps, 2 * steps + 1), row.backwards) == (True, 10 * steps)
        elif family == "FAB^T":
            assert (row.forwards, row.backwards) == (18 * steps + 10, 9 * steps)
        elif family == "EAD":
            assert 0 <= 2 * row.backwards - row.forwards <= 9  # one backward more in each of nine searches
        elif family == "LPA":
            assert extra == 10
        elif "57 000" not in row.note:
            assert 0 <= extra <= {"C&W": 9, "APGD^T": 28}[family]


def test_notes() -> None:
    assert "CIFAR10" in paper.TABLES[13].note
    assert paper.TABLES[13].data == "imagenet"
    assert [number for number, table in paper.TABLES.items() if table.note] == [13]
    noted = {(row.table, row.model, row.attack): row.note for row in paper.rows() if row.note}
    assert "57 004 / 57 000" in noted.pop((12, "RN-50 ℓ2-AT", "C&W ℓ2 9×10000"))
    assert "4866 4838" in noted.pop((12, "RN-50", "APGD^T ℓ2"))
    assert set(noted) == {(row.table, row.model, "LPA") for row in paper.rows() if row.table in (9, 14)}
    assert all("binary search" in note for note in noted.values())


def test_figures() -> None:
    figures = {(table.data, table.distance): table.figure for table in paper.TABLES.values() if table.figure}
    assert figures == {
        ("mnist", "l1"): 6, ("mnist", "l2"): 7, ("cifar10", "l1"): 8, ("cifar10", "l2"): 9,
        ("cifar10", "ciede2000"): 10, ("cifar10", "lpips"): 11, ("imagenet", "l1"): 12, ("imagenet", "l2"): 13,
        ("imagenet", "ciede2000"): 14, ("imagenet", "lpips"): 15,
    }  # fmt: skip
    for table in paper.TABLES.values():
        assert {"mnist": "MNIST", "cifar10": "CIFAR10", "imagenet": "ImageNet"}[table.data] in table.caption


def test_reading_imports_no_torch() -> None:
    read = "import sys; from minadv import paper; paper.rows(); from minadv.paper import geometric"
    code = f"{read}; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# tables 1 and 2


@pytest.mark.parametrize(
    ("data", "distance", "attack", "printed"),
    [
        ("mnist", "l1", "ALMA ℓ1 100", (6.77, 14.73, 6.16, 27.94)),
        ("mnist", "l1", "ALMA ℓ1 1000", (6.23, 14.02, 5.32, 5.65)),
        ("mnist", "l2", "ALMA ℓ2 100", (1.38, 2.68, 1.74, 4.96)),
        ("mnist", "l2", "ALMA ℓ2 1000", (1.32, 2.59, 1.55, 1.26)),
        ("cifar10", "l1", "ALMA ℓ1 100", (1.26, 5.20, 12.15)),
        ("cifar10", "l1", "ALMA ℓ1 1000", (1.02, 4.75, 10.35)),
        ("cifar10", "l2", "ALMA ℓ2 100", (0.09, 0.70, 0.98)),
        ("cifar10", "l2", "ALMA ℓ2 1000", (0.09, 0.67, 0.92)),
        ("cifar10", "ciede2000", "ALMA CIEDE2000 100", (0.18, 3.65, 1.94)),
        ("cifar10", "ciede2000", "ALMA CIEDE2000 1000", (0.14, 2.08, 1.58)),
        ("cifar10", "lpips", "ALMA LPIPS 100", (0.29e-2, 6.76e-2, 7.66e-2)),
        ("cifar10", "lpips", "ALMA LPIPS 1000", (0.12e-2, 1.01e-2, 1.82e-2)),
        ("cifar10", "ssim", "ALMA SSIM 100", (0.4e-4, 7.5e-4, 4.1e-4)),
        ("cifar10", "ssim", "ALMA SSIM 1000", (0.1e-4, 2.8e-4, 2.0e-4)),
        ("imagenet", "l1", "ALMA ℓ1 100", (8.47, 61.37, 14.90)),
        ("imagenet", "l1", "ALMA ℓ1 1000", (4.25, 40.41, 10.33)),
        ("imagenet", "l2", "ALMA ℓ2 100", (0.10, 0.85, 0.62)),
        ("imagenet", "l2", "ALMA ℓ2 1000", (0.10, 0.84, 0.54)),
        ("imagenet", "ciede2000", "ALMA CIEDE2000 100", (0.17, 1.51, 1.61)),
        ("imagenet", "ciede2000", "ALMA CIEDE2000 1000", (0.13, 1.34, 1.46)),
        ("imagenet", "lpips", "ALMA LPIPS 100", (0.34e-2, 3.96e-2, 2.99e-2)),
        ("imagenet", "lpips", "ALMA LPIPS 1000", (0.24e-2, 2.90e-2, 2.11e-2)),
        ("imagenet", "ssim", "ALMA SSIM 100", (0.44e-5, 16.13e-5, 8.69e-5)),
        ("imagenet", "ssim", "ALMA SSIM 1000", (0.05e-5, 5.58e-5, 2.77e-5)),
    ],
)
def test_tables_1_and_2_for_alma(data: str, distance: str, attack: str, printed: tuple[float, ...]) -> None:
    means = geometric.geometric_means(paper.rows())
    (mean,) = [m for m in means if (m.data, m.distance, m.attack) == (data, distance, attack)]
    steps = int(attack.split()[-1])
    assert mean.median == pytest.approx(math.prod(printed) ** (1 / len(printed)), rel=1e-12)
    assert (mean.models, mean.forwards, mean.backwards) == (MODELS[data], steps, steps)


def test_tables_1_and_2_as_numbers() -> None:
    means = {(mean.data, mean.attack): mean for mean in geometric.geometric_means(paper.rows())}
    assert f"{means['mnist', 'ALMA ℓ1 1000'].median:.2f}" == "7.16"  # (6.23·14.02·5.32·5.65)^¼
    assert f"{means['cifar10', 'ALMA ℓ2 1000'].median:.2f}" == "0.38"
    assert f"{means['mnist', 'ALMA ℓ1 100'].asr:.3f}" == "99.897"  # 100^¾ · 99.59^¼
    assert means["mnist", "EAD 9×100"].forwards == pytest.approx((870 * 990 * 967 * 509) ** 0.25)
    assert means["mnist", "EAD 9×100"].backwards == pytest.approx((439 * 499 * 486 * 258) ** 0.25)


def test_means_over_models_are_undefined_where_one_median_is_infinite() -> None:
    means = geometric.geometric_means(paper.rows())
    undefined = [(mean.data, mean.attack) for mean in means if math.isnan(mean.median)]
    assert undefined == [("mnist", "FMN ℓ1 100"), ("mnist", "C&W ℓ2 9×1000"), ("mnist", "C&W ℓ2 9×10000")]
    assert len(means) == sum(len(table.attacks) for table in paper.TABLES.values())
    assert geometric.NUMBERS.keys() == {mean.data for mean in means}


@dataclass(frozen=True)
class Ours:
    """Measured rows of a benchmark have more than these and averages that are not integers."""

    data: str = "demo"
    distance: str = "l2"
    model: str = "one"
    attack: str = "ALMA ℓ2 100"
    asr: float = 1.0
    median: float = 2.0
    forwards: float = 100.5
    backwards: float = 100.0


def test_means_of_our_own_rows() -> None:
    one = Ours()
    two = replace(one, model="two", asr=0.25, median=8.0, forwards=201.0)
    (mean,) = geometric.geometric_means([two, one])
    assert mean.models == ("two", "one")
    assert (mean.asr, mean.median, mean.backwards) == (0.5, pytest.approx(4.0), 100.0)
    assert mean.forwards == pytest.approx(100.5 * math.sqrt(2))
    assert geometric.geometric_means([]) == ()
    with pytest.raises(ValueError, match="got two of ALMA ℓ2 100 on one"):
        geometric.geometric_means([one, two, one])
