"""The parts of the command line that say nothing: from words to an attack, and what is measured."""

import json
import math
from dataclasses import dataclass

import pytest
import torch

from minadv import ALMA, hyper_parameters, measurement, penalties
from minadv.cli import request


def test_assignments_are_read_by_the_type_of_their_field():
    assignments = [
        "alpha=none",
        "mu=2",
        "check-every=7",
        "proximal=false",
        "penalty=PHR",
        "constraint=margin",
    ]
    built = hyper_parameters.build_attack("alma", "l1", {"steps": 9, "seed": None}, assignments, paper=False)
    assert isinstance(built, ALMA)
    assert (built.alpha, built.mu, built.check_every, built.proximal) == (None, 2.0, 7, False)
    assert (built.penalty, built.constraint, built.steps, built.seed) == ("PHR", "margin", 9, 0)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps=many", "steps needs a whole number, got 'many'"),
        ("constraint=dlrr", "needs dlr or margin"),
        ("mu=8/255th", r"mu needs a number \(e.g. 0.031 or 8/255\) or none, got '8/255th'"),
        ("mu=1/0", "mu needs a number"),
        ("steps=8/4", "steps needs a whole number"),
        ("=3", r"--set \(-p\) takes KEY=VALUE"),
        ("steps=3", "given twice"),
        ("distance=l2", "given twice"),
        ("check_evry=3", "did you mean 'check_every'"),
        ("mu=-1", "mu must be None or > 0"),
        ("penalty=P9", "unknown penalty 'P9'"),
    ],
)
def test_bad_assignments_are_explained(assignment: str, message: str):
    options = {"steps": 5} if assignment == "steps=3" else {}
    with pytest.raises(ValueError, match=message):
        hyper_parameters.build_attack("alma", "l2", options, [assignment], paper=False)


def test_the_steps_of_auto_are_its_budget_and_errors_say_what_was_written():
    def built(steps: int | None, budget: int | None, *assignments: str) -> object:
        options = {"steps": steps, "budget": budget}
        return hyper_parameters.build_attack("auto", "l2", options, assignments, paper=False)

    assert built(30, None) == built(None, 30) == built(None, None, "budget=30")
    with pytest.raises(ValueError, match=r"the steps of auto are its budget, got --steps 30 and --budget 50"):
        built(30, 50)
    with pytest.raises(ValueError, match=r"budget is given twice: as --set budget=50 and as --steps"):
        built(30, None, "budget=50")
    with pytest.raises(ValueError, match=r"seed is given twice: as --set seed=2 and as --set seed"):
        built(30, None, "seed=1", "seed=2")


def test_paper_settings_are_those_of_the_tables():
    built = hyper_parameters.build_attack("alma", "ciede2000", {"steps": 100, "budget": None}, [], paper=True)
    expected = ALMA.paper("ciede2000", 100)
    assert hyper_parameters.as_plain(built) == hyper_parameters.as_plain(expected)
    assert hyper_parameters.as_plain(built)["distance"] == "ciede2000[paper]"


@pytest.mark.parametrize(("distance", "usual"), [("l1", 12), ("l2", 0.5), ("linf", 8 / 255)])
def test_the_radius_that_is_searched_is_among_the_settings(distance: str, usual: float):
    for assignments, radius in (([], usual), (["radius=0.25"], 0.25), (["radius=2/255"], 2 / 255)):
        built = hyper_parameters.build_attack("apgd", distance, {}, assignments, paper=False)
        assert hyper_parameters.fixed_radius(hyper_parameters.as_plain(built)) == radius
    assert hyper_parameters.fixed_radius(hyper_parameters.as_plain(ALMA())) is None
    with pytest.raises(ValueError, match="unknown hyper-parameter of apgd 'eps'; did you mean 'radius'"):
        hyper_parameters.build_attack("apgd", distance, {}, ["eps=0.1"], paper=False)


@dataclass(frozen=True, kw_only=True)
class Endless(ALMA):
    """A user's own attack, with a hyper-parameter that JSON has no number for."""

    horizon: float = math.inf


def test_every_setting_is_plain():
    plain = hyper_parameters.as_plain(Endless(penalty=penalties.P3))
    assert plain["penalty"] == "P3"
    assert plain["horizon"] == "inf"
    json.dumps(plain, allow_nan=False)


def test_lpips_takes_the_demo_network_on_the_demo_only():
    assert hyper_parameters.distance_for("lpips", "demo") == "lpips:trunk=demo"
    assert hyper_parameters.distance_for("lpips", "demo@random") == "lpips:trunk=demo"
    assert hyper_parameters.distance_for("lpips", "zoo:cifar_resnet4b") == "lpips"
    assert hyper_parameters.distance_for("lpips:trunk=vgg", "demo") == "lpips:trunk=vgg"
    assert hyper_parameters.distance_for("l2", "demo") == "l2"


def test_classes_are_named_or_numbered():
    assert request.class_number("dog", ("cat", "dog")) == 1
    assert request.class_number("7", ("cat", "dog")) == 7
    assert request.class_number("3", ("5", "4", "3")) == 2, "names come first"
    with pytest.raises(ValueError, match="got -1: those of the data are 0 to 1"):
        request.class_number("-1", ("cat", "dog"))


def test_choosing_samples():
    labels = torch.tensor([0, 1, 0, 2])
    assert request.choose(labels, None, None) == ([0, 1, 2, 3], 0)
    assert request.choose(labels, 2, None) == ([0, 1], 0)
    assert request.choose(labels, 2, 0) == ([1, 3], 2)
    with pytest.raises(ValueError, match="nothing to attack"):
        request.choose(torch.zeros(3, dtype=torch.int64), None, 0)


def test_distances_apply_where_they_are_defined():
    assert measurement.applicable(torch.zeros(2, 3, 11, 11)) == ("l0", "l1", "l2", "linf", "ssim", "ciede2000")
    assert measurement.applicable(torch.zeros(2, 1, 28, 28)) == ("l0", "l1", "l2", "linf", "ssim")
    assert measurement.applicable(torch.zeros(2, 3, 8, 8)) == ("l0", "l1", "l2", "linf", "ciede2000")
    assert measurement.applicable(torch.zeros(2, 7)) == ("l0", "l1", "l2", "linf")
