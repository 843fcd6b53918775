"""Auto's refinement: steps home and across the boundary."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from minadv import Auto, Result
from minadv.attacks.auto import aiming, exploration, families
from minadv.attacks.auto.exploration import Stride
from minadv.attacks.auto.nearest import ByNorm
from minadv.attacks.auto.refinement import Refined, Refinement, changed, closer, direct, hurried
from minadv.attacks.auto.sparse_refinement import SparseRefinement
from minadv.attacks.auto.tangent import tangent
from minadv.oracle import Oracle
from minadv.shapes import per_sample
from tests.networks import convolutional, exact, generator, images, linear, predictions

pytestmark = pytest.mark.usefixtures("as_given")


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        (0, (1, 1)),
        (1, (1, 1)),
        (6, (1, 1)),
        (10, (0.6, 0.36)),
        (12, (0.5, 0.25)),
        (20, (0.3, 0.15)),
        (99, (0.3, 0.15)),
    ],
)
def test_few_steps_go_home_in_longer_ones(steps: int, shares: tuple[float, float]) -> None:
    assert hurried((0.3, 0.15), steps) == pytest.approx(shares)
    assert hurried((1.0, 1.0), steps) == (1.0, 1.0)


def test_steps_home_are_longer_where_gradients_can_be_trusted() -> None:
    stride = Stride.signs(torch.ones(3))._replace(trusted=torch.tensor([1.0, 0.0, 1.0]))
    bold = replace(families.of("ssim"), bolder=2.5).bold(stride)
    assert bold is not None
    assert bold.tolist() == [2.5, 1.0, 2.5]
    assert replace(families.of("ssim"), bolder=1.0).bold(stride) is None
    assert families.of("ssim").bold(None) is None

    model, x, ends = convolutional(), images(4), list[Tensor]()

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            nearest = ByNorm(oracle.originals, 2)
            for pull, factor in (((0.2, 0.1), 1.0), ((0.4, 0.1), 1.0), ((0.2, 0.1), 2.0)):
                start, factors = Refined.at(oracle.originals + 0.1, oracle), torch.tensor([factor] * 3 + [1.0])
                end = Refinement(pull=pull)(oracle, start, 8, towards, nearest, bold=factors)
                ends.append(end.point)

    Refining()(model, x, predictions(model, x))
    timid, bolder, factored = ends
    torch.testing.assert_close(factored[:3], bolder[:3])
    torch.testing.assert_close(factored[3], timid[3])
    assert (bolder - timid).abs().flatten(1).amax(dim=1).min() > 1e-3


def test_masked_gradients_are_not_gone_home_by_in_longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = convolutional(), images(4)

    def answers(bolder: float | None) -> Tensor:
        return Auto(distance="ssim", budget=30, bolder=bolder)(model, x, predictions(model, x)).distances

    assert torch.equal(answers(None), answers(families.of("ssim").bolder))
    assert not torch.equal(answers(1.0), answers(2.5))
    monkeypatch.setattr(exploration, "trust", lambda gradient, _dense: gradient.new_zeros(len(gradient)))
    assert torch.equal(answers(1.0), answers(2.5))


def test_the_closer_of_two_refinements_row_by_row() -> None:
    def refined(value: float, reached: list[float]) -> Refined:
        rows = torch.full((3, 2), value)
        per_row = torch.full((3,), value)
        return Refined(rows, torch.tensor(reached), per_row.long(), per_row, rows.clone(), None)

    one, other = refined(1.0, [1.0, 2.0, math.inf]), refined(2.0, [2.0, 1.0, math.inf])
    best = closer(one, other)
    expected = torch.tensor([1.0, 2.0, 1.0])  # the first where both have nothing
    assert torch.equal(best.reached, torch.tensor([1.0, 1.0, math.inf]))
    assert best.average is not None
    assert best.afar is None
    for found in (best.point[:, 0], best.average[:, 1], best.residual, best.classes.float()):
        assert torch.equal(found, expected)


def test_a_refinement_without_an_adversarial_point_goes_all_the_way_to_the_boundary() -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)
    known = Auto(distance="l2", budget=50)(model, x, labels)
    assert known.success.all()

    def found(refinement: Refinement) -> Tensor:
        class Refining(Auto):
            def search(self, oracle: Oracle) -> None:
                start = oracle.originals.lerp(known.adversarials.to(oracle.originals), 0.2)
                towards = aiming.constrain(oracle, None, self.confidence)
                refinement(oracle, Refined.at(start, oracle), 5, towards, ByNorm(oracle.originals, 2))

        return Refining(distance="l2")(model, x, labels).success

    assert found(Refinement()).all()
    assert not found(Refinement(lost=Refinement.longest)).any()


@pytest.mark.parametrize(("distance", "p"), [("l1", 1), ("l2", 2), ("linf", math.inf)])
def test_a_refinement_at_the_original_leaves_it(distance: str, p: float) -> None:
    model, x = convolutional(), images(8)

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            towards, start = (
                aiming.constrain(oracle, None, self.confidence),
                Refined.at(oracle.best.clone(), oracle),
            )
            Refinement()(oracle, start, 12, towards, ByNorm(oracle.originals, p))

    assert Refining(distance=distance)(model, x, predictions(model, x)).success.all()


def test_slight_entries_are_not_changed() -> None:
    x0 = torch.zeros(2, 1, 4)
    delta = torch.tensor([[[0.9, 0.004, 0.2, 0.0]], [[0.9, 0.004, 0.2, 0.0]]])
    home = torch.tensor([[[0.1, 0.0, 0.0, 0.5]], [[0.1, 0.0, 0.0, 0.0]]])
    kept = changed(delta.clone(), home, x0, torch.tensor([False, True]))
    assert kept.tolist() == [[[1, 0, 1, 1]], [[1, 1, 1, 1]]]  # all where nothing is known to be adversarial


def test_the_direct_way_leads_to_the_same_plane() -> None:
    g = generator(0)
    x0, normal = torch.rand(3, 12, generator=g), torch.randn(3, 12, generator=g)
    normal /= normal.norm(dim=1, keepdim=True)
    need = torch.tensor([0.1, -0.1, 0.05])
    home = x0 - need[:, None] * normal.sign() / normal.abs().sum(dim=1, keepdim=True)
    way = direct(normal.clone(), home, x0, need)
    torch.testing.assert_close((way * normal).sum(dim=1), torch.ones(3))
    torch.testing.assert_close(way[0], normal[0].sign() / normal[0].abs().sum())
    assert torch.equal(way[1], normal[1])


@pytest.mark.parametrize(("distance", "across"), [("l1", "few"), ("linf", "home")])
def test_steps_to_the_boundary_go_where_the_distance_grows_least(distance: str, across: str) -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)

    def found(**options: Any) -> Result:
        return Auto(distance=distance, budget=100, **options)(model, x, labels)

    usual, normal = found(), found(across="normal")
    assert torch.equal(found(across=across).adversarials, usual.adversarials)
    ratio = (usual.distances / normal.distances).log().mean()
    assert usual.asr == 1
    assert ratio < 0
    if distance == "l1":  # nothing is left of explorations, which change all entries
        entries = (usual.adversarials != x).flatten(1).sum(dim=1)
        assert entries.float().median() < 0.1 * x[0].numel()
        slight = (usual.adversarials - x).abs().flatten(1)
        slight = slight.where(slight < 0.003 * slight.amax(dim=1, keepdim=True), 0.0)
        assert (slight.sum(dim=1) < 1e-3 * usual.distances).all()


@pytest.mark.parametrize("distance", ["l2", "l0"])
def test_blind_steps_of_a_refinement_take_no_backward(distance: str) -> None:
    model = linear(3 * 8 * 8)
    x = images(6, side=8)
    labels = predictions(model, x)
    best = exact(model, x, labels, "l2")

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            seen = tangent(oracle, oracle.probe(oracle.originals), towards, None, 0.0)
            start = (oracle.originals - 2 * per_sample(seen.way, x) * seen.normal).clamp(0, 1)
            begun = Refined.at(start, oracle)
            if distance == "l0":
                SparseRefinement()(oracle, begun, 30, towards, None, 10)
            else:
                Refinement()(oracle, begun, 30, towards, ByNorm(oracle.originals, 2), None, 10)

    result = Refining(distance=distance)(model, x, labels)
    assert (result.forwards == 1 + 30).all()
    assert (result.backwards == 1 + 20).all()
    assert result.success.all()
    if distance == "l2":
        reached = best.gather(1, predictions(model, result.adversarials)[:, None])[:, 0]
        assert (result.distances < 1.01 * reached).all()
        assert (result.distances < 1.0015 * reached).sum() >= 5  # of six, after twenty gradients


def test_a_refinement_crosses_the_boundary_where_single_gradients_are_mostly_noise() -> None:
    """Each gradient's own way to the boundary is then too short by a factor, in the direction of their average."""
    g, ended = generator(3), list[Refined]()
    weights = torch.randn(3 * 8 * 8, generator=g) / 10

    def noisy(x: Tensor) -> Tensor:
        rows = x.flatten(1)
        noise = 0.4 * torch.randn(rows.shape, generator=g)
        fallen = (rows - 0.5) @ weights + ((rows - rows.detach()) * noise).sum(dim=1) - 1
        return torch.stack((torch.zeros_like(fallen), fallen, fallen - 3, fallen - 4), dim=1)

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            start = oracle.originals + 0.1 * weights.reshape(3, 8, 8)
            towards = aiming.constrain(oracle, None, self.confidence)
            ended.append(Refinement()(oracle, Refined.at(start, oracle), 50, towards, ByNorm(oracle.originals, 2)))

    result = Refining()(noisy, torch.full((4, 3, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64))
    assert ended[0].reached.isfinite().all()
    assert result.success.all()
