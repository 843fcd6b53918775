"""Parts that attacks share: schedules and Adam against torch's own, the search for c against a plain loop."""

import math

import pytest
import torch

from minadv.attacks.abort import Stall
from minadv.attacks.adam import Adam
from minadv.attacks.constant import Constant
from minadv.attacks.constant_search import Searches
from minadv.attacks.schedules import cosine, geometric, linear
from minadv.attacks.tanh import TanhSpace
from minadv.incumbents import Incumbents
from minadv.rounding import steady
from tests.networks import generator, images


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_schedules_are_those_of_torch(steps: int) -> None:
    def theirs(make: type, **settings: float) -> list[float]:
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
        scheduler, rates = make(optimiser, **settings), []
        for _ in range(steps):
            rates.append(scheduler.get_last_lr()[0])
            optimiser.step()
            scheduler.step()
        return rates

    def ours(schedule: object) -> list[float]:
        return [schedule(i, steps, 2.0, 0.1) for i in range(steps)]  # type: ignore[operator]

    annealing = torch.optim.lr_scheduler.CosineAnnealingLR
    assert ours(cosine) == pytest.approx(theirs(annealing, T_max=steps, eta_min=0.1), abs=1e-12)
    assert cosine(steps, steps, 2.0, 0.1) == pytest.approx(0.1)
    exponential = torch.optim.lr_scheduler.ExponentialLR
    assert ours(geometric) == pytest.approx(theirs(exponential, gamma=0.05 ** (1 / steps)), abs=1e-12)
    assert ours(linear) == pytest.approx(torch.linspace(2.0, 0.1, steps, dtype=torch.float64).tolist())


def test_adam_is_that_of_torch() -> None:
    gradients = torch.randn(20, 4, 9, generator=generator(), dtype=torch.float64)
    theirs = torch.zeros(4, 9, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=0.03)
    x = torch.zeros(4, 9, dtype=torch.float64)
    adam = Adam.like(x)
    for gradient in gradients:
        theirs.grad = gradient.clone()
        optimiser.step()
        x = x + adam.step(gradient, 0.03)
        torch.testing.assert_close(x, theirs.detach())


def test_samples_that_start_again_have_an_adam_of_their_own() -> None:
    gradients = torch.randn(20, 3, 5, generator=generator(4), dtype=torch.float64)
    ages = torch.tensor([[i, i % 7, max(i - 11, i % 11)] for i in range(20)])
    adam, fresh = Adam.like(gradients[0], steps=20), [Adam.like(gradients[0, :1]) for _ in range(3)]
    for gradient, age in zip(gradients, ages, strict=True):
        step = adam.step(gradient, 0.03, age)
        for sample in range(3):
            if age[sample] == 0:
                fresh[sample] = Adam.like(gradient[:1])
            torch.testing.assert_close(step[sample], fresh[sample].step(gradient[sample : sample + 1], 0.03)[0])


@pytest.mark.parametrize("searches", [3, 10])
@pytest.mark.parametrize("patience", [None, 1, 2])
def test_runs_are_a_plain_loop_per_sample(searches: int, patience: int | None) -> None:
    steps, period, samples = 12, 3, 8
    # what happens in a step depends on the sample, its run and its age alone
    losses = torch.rand(samples, searches, steps, generator=generator(5)).cummin(dim=2).values
    hits = torch.rand(samples, searches, steps, generator=generator(6)) < 0.05

    def plain(sample: int) -> list[tuple[int, int, float]]:
        looks, c = [], Constant.starting_at(0.1, torch.zeros(1))
        for run in range(searches):
            c = c.best() if run == searches - 1 and searches >= 10 else c
            success, last, idle = False, math.inf, 0
            for age in range(steps):
                looks.append((run, age, c.value.item()))
                success |= bool(hits[sample, run, age])
                loss = losses[sample, run, age].item()
                if age % period == 0:
                    idle, last = (idle + 1 if loss > 0.9999 * last else 0), loss
                    if patience is not None and idle >= patience:
                        break
            c = c.after(torch.tensor([success]))
        return looks

    everyone = torch.ones(samples, dtype=torch.bool)
    c = Constant.starting_at(0.1, torch.zeros(samples))
    progress = Stall.start(c.value, "each")
    runs = Searches.of(everyone, c, progress, searches=searches, steps=steps, period=period, patience=patience)
    looks: list[list[tuple[int, int, float]]] = [[] for _ in range(samples)]
    for _ in range(searches * steps):
        at = torch.arange(samples), runs.number.clamp_max(searches - 1), runs.age
        for sample in torch.nonzero(runs.live).flatten().tolist():
            looks[sample].append((int(at[1][sample]), int(at[2][sample]), runs.c.value[sample].item()))
        runs.success = runs.success | (hits[at] & runs.live)
        gave_up = runs.check(losses[at])
        assert not (runs.going_on(gave_up) & gave_up).any()
        runs.advance(gave_up)
        if runs.over:
            break
    assert looks == [plain(sample) for sample in range(samples)]
    assert runs.over


@pytest.mark.parametrize("growth", [5.0, 10.0])
def test_search_for_c_is_a_plain_loop_per_sample(growth: float) -> None:
    outcomes = torch.rand(12, 30, generator=generator(2)) < torch.linspace(0, 1, 30)
    c = Constant.starting_at(0.1, torch.zeros(30), growth)
    plain = [(0.1, 0.0, math.inf)] * 30
    for success in outcomes:
        c = c.after(success)
        for sample, (value, low, high) in enumerate(plain):
            if success[sample]:
                high = min(high, value)
            else:
                low = max(low, value)
            plain[sample] = ((low + high) / 2 if high < math.inf else min(growth * value, 1e10), low, high)
    expected = torch.tensor(plain).T
    for ours, theirs in zip((c.value, c.low, c.high), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(c.best().value, torch.where(c.high < math.inf, c.high, c.value))


def test_progress_by_sample_by_all_and_by_the_sum() -> None:
    losses = torch.tensor([[4.0, 1.0], [5.0, 0.5], [5.0, 0.4], [5.0, 0.4]])
    seen: dict[str, list[list[float]]] = {}
    for scope in ("each", "all", "sum"):
        progress = Stall.start(losses[0], scope)
        seen[scope] = []
        for loss in losses:
            progress = progress.after(loss)
            seen[scope].append(progress.idle.tolist())
    assert seen["each"] == [[0, 0], [1, 0], [2, 0], [3, 1]]
    assert seen["all"] == [[0, 0], [0, 0], [0, 0], [1, 1]]
    assert seen["sum"] == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert progress.stalled(1).all()
    assert not progress.stalled(2).any()


def test_tanh_space_starts_at_the_originals_and_stays_in_the_box() -> None:
    x0 = torch.cat((images(2), images(2).round())).double()
    space = TanhSpace.around(x0)
    assert space.x is x0
    start = space.v.clone()
    torch.testing.assert_close(start, torch.atanh((2 * x0 - 1) * (1 - 1e-6)))
    w = torch.zeros_like(x0, requires_grad=True)
    ((torch.tanh(start + w) + 1) / 2).square().sum().backward()
    first = space.v - 0.5 * w.grad / (w.grad.abs() + 1e-8)  # type: ignore[union-attr]
    space.descend(2 * (space.t + 1) / 2, 0.5)
    torch.testing.assert_close(space.v, first)
    assert ((space.x >= 0) & (space.x <= 1)).all()

    moved = space.x[1:].clone()
    space.restart(torch.arange(len(x0)) == 0)
    assert torch.equal(space.x[:1], x0[:1])
    assert torch.equal(space.v[:1], start[:1])
    assert torch.equal(space.x[1:], moved)
    space.descend(torch.zeros_like(x0), 0.0)
    torch.testing.assert_close(space.x[:1], x0[:1], atol=1e-6, rtol=0)


def test_rounding_does_not_depend_on_the_place() -> None:
    values = torch.randn(37, generator=generator(3))
    whole = steady(torch.sigmoid, values)
    torch.testing.assert_close(whole, torch.sigmoid(values))
    for start in (0, 5, 36):
        assert torch.equal(steady(torch.sigmoid, values[start:]), whole[start:])


def test_incumbents_are_replaced_row_by_row_and_only_by_better_adversarials() -> None:
    x0, closer, farther = torch.zeros(4, 2), torch.full((4, 2), 0.1), torch.full((4, 2), 0.5)
    best = Incumbents.before(x0)
    assert not best.found.any()
    best.take(closer, torch.full((4,), 0.2), torch.tensor([True, True, False, False]))
    best.take(farther, torch.full((4,), 1.0), torch.tensor([True, False, True, False]))
    assert best.found.tolist() == [True, True, True, False]
    torch.testing.assert_close(best.distance, torch.tensor([0.2, 0.2, 1.0, math.inf]))
    assert torch.equal(best.x, torch.cat((closer[:2], farther[2:3], x0[3:])))

    best.by = lambda x, distance: -distance
    best.take(farther + 0.1, torch.full((4,), 1.5), torch.tensor([True, False, False, False]))
    torch.testing.assert_close(best.distance, torch.tensor([1.5, 0.2, 1.0, math.inf]))
    assert torch.equal(best.x[0], farther[0] + 0.1)
