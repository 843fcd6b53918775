"""Suite files: what is wrong is said with the file, the key, what it got and what is allowed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minadv import paper
from minadv.attacks.tables import table
from minadv.bench import suite
from minadv.bench.choosing import matches
from minadv.bench.entries import wanted
from minadv.bench.jobs import Options
from minadv.bench.planning import plan
from minadv.distances import resolve
from tests import benches

ALMA: dict[str, Any] = {"attack": "alma", "distances": ["l2"], "steps": [5]}
TABLES_OF = {"mnist": (4, 5), "cifar10": (6, 7, 8, 9, 10), "imagenet": (11, 12, 13, 14, 15)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return benches.write_images(tmp_path / "images.npz")


def said(text: str) -> str:
    """What is said of a suite that is none."""
    with pytest.raises(ValueError, match=r"the\.toml") as caught:
        suite.parse(text, "the.toml")
    return str(caught.value)


def asked(*attacks: dict[str, Any], **top: Any) -> suite.Suite:
    return suite.parse(benches.toml("demo", *attacks, **top), "the.toml")


# what pydantic sees


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"sampels": 3}, ("sampels", "did you mean 'samples'", "shard_size")),
        ({"samples": "all"}, ("samples", "needs a count", '"all"')),
        ({"samples": 1.5}, ("samples", "needs a count", "1.5")),
        ({"samples": True}, ("samples", "needs a count", "true")),
        ({"samples": 0}, ("samples", "needs a count ≥ 1", "got 0")),
        ({"samples": [5, 3]}, ("samples", "first < end", "5, 3")),
        ({"samples": [3, 3]}, ("samples", "first < end", "3, 3")),
        ({"samples": [-1, 3]}, ("samples", "or a range", "got [-1, 3]")),
        ({"samples": [1, 2, 3]}, ("samples", "or a range", "got [1, 2, 3]")),
        ({"shard_size": 0}, ("shard_size", "greater than or equal to 1", "got 0")),
        ({"seed": "42"}, ("seed", "integer", '"42"')),
        ({"population": "right"}, ("population", "'all' or 'correct'", '"right"')),
        ({"target": -1}, ("target", "needs a class: its number, from 0 on, or its name", "got -1")),
        ({"budgets": [100, 0]}, ("budgets[1]", "greater than or equal to 1", "got 0")),
        ({"radii": {"l2": 0}}, ("radii.l2[0]", "needs numbers > 0", "got 0")),
        ({"radii": {"l2": [1, "8/0"]}}, ("radii.l2[1]", "fractions such as", '"8/0"')),
        ({"radii": {"l2": "eight"}}, ("radii.l2[0]", "fractions such as", '"eight"')),
        ({"radii": {"l2": True}}, ("radii.l2[0]", "needs numbers", "true")),
        ({"paper": "svhn"}, ("paper", "'mnist', 'cifar10' or 'imagenet'", '"svhn"')),
        ({"trace": 1}, ("trace", "boolean", "got 1")),
        ({"title": ""}, ("title", "at least 1 character", '""')),
        ({"data": 3}, ("data", "string", "got 3")),
    ],
    ids=str,
)
def test_a_wrong_key_or_value_is_named(top: dict[str, Any], words: tuple[str, ...]):
    message = said(benches.toml("demo", **top))
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ({**ALMA, "step": [5]}, ("attacks[0].step", "did you mean 'steps'", "optional")),
        ({**ALMA, "levels": 256}, ("attacks[0].levels", "is written options = {levels = 256}")),
        ({**ALMA, "budget": 256}, ("attacks[0].budget", "did you mean 'budgets'")),
        ({**ALMA, "steps": [0]}, ("attacks[0].steps[0]", "greater than or equal to 1", "got 0")),
        ({**ALMA, "steps": 0}, ("attacks[0].steps", "greater than or equal to 1", "got 0")),
        ({**ALMA, "steps": ["5"]}, ("attacks[0].steps[0]", "integer", '"5"')),
        ({**ALMA, "attack": ""}, ("attacks[0].attack", "at least 1 character", '""')),
        ({"steps": [5]}, ("attacks[0].attack is missing",)),
        ({**ALMA, "options": {"alpha": [1]}}, ("attacks[0].options.alpha", "number", "1")),
    ],
    ids=str,
)
def test_a_wrong_entry_is_named(attack: dict[str, Any], words: tuple[str, ...]):
    message = said(benches.toml("demo", attack))
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("title is missing", "data is missing", "models is missing")),
        ("title = ", ("no valid TOML", "at end of document")),
        ('title = "a"\ndata =\n', ("no valid TOML", "line 2")),
        ('title = "a"\ntitle = "b"', ("no valid TOML",)),
        ('title = "t"\ndata = "demo"\nmodels = []\n', ("models", "at least 1 item")),
        ('title = "t"\ndata = "demo"\n[[models]]\nspec = "demo"\n', ("neither [[attacks]] nor [[tables]]",)),
        (
            'title = "t"\ndata = "demo"\n[[models]]\nname = "x"\n[[attacks]]\nattack = "alma"\n',
            ("models[0].spec",),
        ),
        (
            'title = "t"\ndata = "demo"\n[[models]]\nspec = "demo"\n[[tables]]\ndistance = "l2"\n',
            ("[[tables]]", "like =", "mnist"),
        ),
        (
            'title = "t"\ndata = "demo"\n[[models]]\nspec = "demo"\n[[tables]]\ndistance = "l0"\nlike = "mnist"\n',
            ("tables[0].distance", "'l1', 'l2'", '"l0"'),
        ),
    ],
    ids=str,
)
def test_what_is_not_a_suite_is_told_apart(text: str, words: tuple[str, ...]):
    message = said(text)
    assert all(word in message for word in words), message


def test_two_models_with_one_name_are_refused():
    message = said(
        benches.toml("demo", models=[{"spec": "demo", "name": "a"}, {"spec": "zoo:mnist_kw", "name": "a"}])
    )
    assert "two models are called 'a'" in message


# what the attacks see


@pytest.mark.parametrize(
    ("attacks", "words"),
    [
        (({**ALMA, "attack": "almaa"},), ("attacks[0]", "'almaa'", "did you mean 'alma'", "ddn")),
        (({"attack": "auto", "steps": [5]},), ("attacks[0]", "auto has no steps", "budgets = …")),
        (({**ALMA, "options": {"aplha": 1}},), ("attacks[0]", "'aplha'", "did you mean 'alpha'", "rho")),
        (({**ALMA, "options": {"alpha": "x"}},), ("attacks[0]", "alpha", "a number", "'x'")),
        (({**ALMA, "options": {"distance": "l1"}},), ("attacks[0]", "'distance'")),
        (
            ({"attack": "admm", "steps": [5]}, {"attack": "lpa", "options": {"budget": 3}}),
            ("attacks[1]", "'budget'"),
        ),
        (({**ALMA, "options": {"steps": 6}},), ("attacks[0]", "'steps'", "write steps = …")),
        (
            ({**ALMA, "label": "A {nope}"},),
            ("attacks[0]", "attack", "{nope}", "{distance}, {steps}, {budget} alone"),
        ),
        ((ALMA, ALMA), ("attacks[0]", "two attacks are called 'ALMA ℓ2 5'", "label")),
        (({**ALMA, "steps": [5, 6], "label": "x"},), ("attacks[0]", "two attacks are called 'x'")),
    ],
    ids=str,
)
def test_wrong_attacks_are_named(attacks: tuple[dict[str, Any], ...], words: tuple[str, ...]):
    with pytest.raises(ValueError, match="attack") as caught:
        wanted(asked(*attacks))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ({"attack": "ddn", "distances": ["l1"]}, ("attacks[0] (DDN)", "ddn minimises l2, not l1", "ead")),
        ({**ALMA, "distances": ["l7"]}, ("attacks[0]", "'l7'", "linf")),
        ({**ALMA, "options": {"confidence": -1}}, ("attacks[0]", "confidence must be ≥ 0", "-1")),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_named_before_anything_runs(attack: dict[str, Any], words: tuple[str, ...]):
    row = wanted(asked(attack))[0]
    with pytest.raises(ValueError, match="attacks") as caught:
        row.build("demo")
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "attack",
    [
        {**ALMA, "attack": "almaa"},
        {**ALMA, "options": {"aplha": 1}},
        {"attack": "ddn", "distances": ["l1"]},
        {**ALMA, "steps": [0]},
    ],
    ids=str,
)
def test_the_command_says_the_file_and_exits_with_2(attack: dict[str, Any], data: Path, tmp_path: Path):
    path = benches.write_suite(tmp_path, data, attack)
    done = benches.bench(path, tmp_path / "out")
    assert done.exit_code == 2
    assert "attacks[0]" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
    assert "suite.toml" in done.output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("demoo", ("did you mean 'demo'", "public/mnist")),
        ("nothing.toml", ("there is no suite file nothing.toml",)),
    ],
)
def test_a_suite_that_is_not_there(name: str, words: tuple[str, ...], tmp_path: Path):
    done = benches.bench(name, tmp_path / "out")
    assert done.exit_code == 2
    assert all(word in done.output for word in words), done.output


def test_a_file_of_something_else(tmp_path: Path):
    path = tmp_path / "picture.toml"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"picture\.toml is no text in UTF-8"):
        suite.load(path)


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"target": "clas 3"}, ("unknown class 'clas 3'", "did you mean 'class 3'")),
        ({"target": "-1"}, ("got -1", "those of the data are 0 to 4")),
        ({"target": "7"}, ("target is 7, but net tells 5 classes apart",)),
        ({"samples": [90, 95]}, ("[90, 95]", "12 samples")),
        ({"data": "npx:foo"}, ("'npx'", "npz")),
        ({"data": "npz:not_anywhere.npz"}, ("not_anywhere.npz", "--files", "MINADV_DATA")),
        ({"models": [{"spec": "zoo:nope"}]}, ("'nope'", "mnist_kw")),
        ({"models": [{"spec": "python:tests.benches:nope"}]}, ("tests.benches", "'nope'")),
    ],
    ids=str,
)
def test_models_and_data_that_cannot_be(top: dict[str, Any], words: tuple[str, ...], data: Path, tmp_path: Path):
    done = benches.bench(benches.write_suite(tmp_path, data, **top), tmp_path / "out")
    assert done.exit_code == 2
    assert all(word in done.output for word in words), done.output
    assert "Traceback" not in done.output


def test_a_distance_that_does_not_take_the_images(tmp_path: Path):
    np.savez(tmp_path / "small.npz", images=np.full((2, 8, 8, 3), 0.5, dtype=np.float32), labels=np.arange(2))
    attacks = {"attack": "alma", "distances": ["l2", "ssim"], "steps": [3]}
    path = benches.write_suite(tmp_path, tmp_path / "small.npz", attacks)
    done = benches.bench(path, tmp_path / "out", "--dry-run")
    assert done.exit_code == 2
    said = "attacks[0] (ALMA SSIM 3): ssim needs images of at least 11×11 pixels (its Gaussian window), got 8×8"
    assert said in done.output


def test_an_attack_that_cannot_be_targeted(data: Path, tmp_path: Path):
    done = benches.bench(benches.write_suite(tmp_path, data, {"attack": "deepfool"}, target=1), tmp_path / "out")
    assert done.exit_code == 2
    assert "deepfool cannot be targeted" in done.output


# what they mean


def test_every_combination_is_a_row():
    entry = {"attack": "fmn", "distances": ["l1", "l2"], "steps": [3, 4], "budgets": [5, 6]}
    rows = wanted(asked(entry))
    assert [row.label for row in rows] == [
        f"FMN {distance} {steps} ≤{budget}" for distance in ("ℓ1", "ℓ2") for steps in (3, 4) for budget in (5, 6)
    ]
    built = rows[-1].build("demo")
    assert (built.steps, built.budget, built.seed) == (4, 6, 42)  # pyright: ignore[reportAttributeAccessIssue]


def test_autos_budget_is_of_each_and_its_name_says_so():
    (row,) = wanted(asked({"attack": "auto", "distances": ["l2"]}, budgets=[6]))
    assert row.label == "Auto ℓ2 ≤6+6"
    assert row.build("demo").budget == 6


def test_the_suites_budgets_and_seed_are_for_entries_without_their_own():
    first, second, third = wanted(asked(ALMA, {"attack": "ddn", "budgets": [7]}, budgets=[5, 6], seed=3))
    assert [row.build("demo").budget for row in (first, second, third)] == [5, 6, 7]
    assert {row.build("demo").seed for row in (first, second, third)} == {3}
    own = {"attack": "ddn", "options": {"seed": 9}}
    assert wanted(asked(own, seed=3))[0].build("demo").seed == 9


def test_own_distances_are_called_by_their_own_name():
    (row,) = wanted(asked({"attack": "alma", "distances": ["python:tests.own_distances:weighted"], "steps": [3]}))
    assert row.label == "ALMA weighted 3"
    assert resolve(row.build("demo").distance).name == "weighted"


def test_a_value_may_stand_without_its_brackets():
    one, other = asked({**ALMA, "distances": "l1", "steps": 7}), asked({**ALMA, "distances": ["l1"], "steps": [7]})
    assert one == other


@pytest.mark.parametrize("name", suite.names())
def test_shipped_suites_are_suites(name: str):
    found = suite.load(name)
    rows = wanted(found)
    assert len({row.label for row in rows}) == len(rows) > 0
    assert found.seed == 42


def test_all_suites_are_shipped():
    assert suite.names() == (
        "demo",
        "paper/cifar10",
        "paper/imagenet",
        "paper/mnist",
        "public/cifar10",
        "public/mnist",
    )


@pytest.mark.parametrize("name", TABLES_OF)
def test_the_papers_suites_have_exactly_the_papers_rows(name: str):
    found = suite.load(f"paper/{name}")
    labels = [row.label for row in wanted(found)]
    tables = [paper.TABLES[number] for number in TABLES_OF[name]]
    assert found.paper == name
    assert labels == [attack for of in tables for attack in of.attacks]
    assert {entry.label for entry in found.models} == {model for of in tables for model in of.models}
    assert [entry.distance for entry in found.tables] == [of.distance for of in tables]
    for of in tables:
        for model in of.models:
            printed = [row.attack for row in paper.rows(of.number) if row.model == model]
            assert printed == [row.label for row in wanted(found) if row.distance == of.distance]


@pytest.mark.parametrize("name", TABLES_OF)
def test_the_papers_suites_use_the_papers_settings(name: str):
    found = suite.load(f"paper/{name}")
    rows = {row.label: row for row in wanted(found) if row.distance not in ("lpips",)}
    for distance in {row.distance for row in rows.values()}:
        for expected in table(distance, found.paper or "cifar10"):
            compat = {"compat": "sample"} if expected.attack in ("cw", "ead") else {}
            built = expected.build(seed=42, **compat)
            assert rows[expected.label].build("demo") == replace(built, distance=resolve(built.distance))


def test_radii_are_kept_as_they_are_written_and_are_of_a_distance_of_the_suite():
    radii = {"l2": 0.5, "linf": ["8/255", 1]}
    found = wanted(
        suite.parse(benches.toml("demo", {"attack": "fmn", "distances": ["l2", "linf"]}, radii=radii), "")
    )
    assert [row.radii for row in found] == [("0.5",), ("8/255", "1")]
    with pytest.raises(ValueError, match="radii: unknown distance of this suite 'l3'; known: "):
        wanted(suite.parse(benches.toml("demo", radii={"l3": 0.5}), ""))


def test_only_takes_whole_numbers_and_any_spelling():
    assert matches("RN-50", "ALMA ℓ2 100", ())
    assert matches("RN-50", "ALMA ℓ2 100", ("alma l2 100",))
    assert not matches("RN-50", "ALMA ℓ2 1000", ("alma l2 100",))
    assert matches("RN-50", "FAB ℓ∞ 100", ("rn-50 linf",))
    assert matches("RN-50", "C&W ℓ2 9×1000", ("9x1000",))
    assert matches("RN-50", "σ-zero 100", ("fab", "sigma-zero"))
    assert not matches("RN-50", "DDN 100", ("alma", "fab"))
    assert not matches("RN-50", "DDN 100", ("rn-50 alma",))


def test_only_that_leaves_nothing_says_what_there_is(data: Path, tmp_path: Path):
    asked_for = suite.load(benches.write_suite(tmp_path, data))
    with pytest.raises(ValueError, match=r"--only fab leaves nothing.*net.*ALMA ℓ2 8"):
        plan(asked_for, Options(only=("fab",)))


def test_the_documented_suite_is_one() -> None:
    text = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text().split("```toml\n")[1].split("```")[0]
    documented = suite.parse(text, "docs/benchmark.md")
    assert len(wanted(documented)) == 2 * (len(table("l2", "cifar10")) + 4)  # two budgets
    # what is commented out can be told apart from prose, and is an option, too
    rest = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    assert rest
    for line in rest:
        assert suite.parse(f"{line}\n{text}", "docs/benchmark.md") != documented
