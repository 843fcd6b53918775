"""PQP: counts, where it draws, when it stops, and its rule of acceptance against a naive transcription."""

import pytest
import torch
from torch import Tensor, nn

from minadv import distances
from minadv.attacks.pqp import PQP
from minadv.goals import Goal, Targeted, Untargeted
from minadv.oracle import Oracle
from minadv.verification import Settings
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")

ATTACK = PQP(steps=80, pixels=40, delta=6 / 255)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutional()


def batch(model: nn.Module, count: int = 8) -> tuple[Tensor, Tensor]:
    x = images(count)
    return x, predictions(model, x)


def oracle(model: nn.Module, x: Tensor, goal: Goal, labels: Tensor) -> Oracle:
    return Oracle(model, x, {"labels": labels}, goal, distances.resolve("ssim"), Settings())


def test_two_forwards_a_draw_no_backwards_and_a_stop_at_the_first_adversarial(model: nn.Module) -> None:
    x, labels = batch(model)
    result = ATTACK(model, x, labels, trace=True)
    assert (result.backwards == 0).all()
    assert (result.forwards % 2 == 1).all()  # the clean look, and two for every draw
    assert (result.forwards <= 2 * ATTACK.steps + 1).all()
    assert result.success.float().mean() > 0.5
    assert len(set(result.forwards.tolist())) > 2
    assert result.trace is not None
    for row in torch.nonzero(result.success).flatten().tolist():
        spent = result.trace.propagations[:, row]
        first = spent[result.trace.distances[:, row] < torch.inf][0]
        assert 0 <= int(result.forwards[row] - first) <= 1  # nothing but the other sign of the same draw


@pytest.mark.parametrize("targeted", [False, True])
def test_acceptance_is_the_published_rule(model: nn.Module, targeted: bool) -> None:
    """One sample at a time, with probabilities, against the batch with log-probabilities."""
    x, labels = batch(model)
    goals = (labels + 1) % 5 if targeted else labels
    attack = PQP(steps=25, draws=2, pixels=15, delta=4 / 255, floor=0.9)
    result = attack(model, x, labels, targets=goals if targeted else None)
    for row in range(len(x)):
        one = slice(row, row + 1)
        seen = oracle(model, x, (Targeted if targeted else Untargeted)(goals), labels)
        near = seen.distance

        def score(image: Tensor, c: int = int(goals[row])) -> float:
            with torch.no_grad():
                probability = model(image.double().float())[0].softmax(dim=0)[c].double().item()
            return probability if targeted else 1 - probability

        def met(image: Tensor, c: int = int(goals[row])) -> bool:
            return (predictions(model, image)[0].item() == c) == targeted

        image, forwards, tries, found = x[one], 1, 0, False
        current = score(image)
        for draw in range(attack.steps):
            whole = x.clone()
            whole[one] = image
            change = attack._pattern(seen, whole, draw)[one]
            pair = [(image + change).clamp(0, 1), (image - change).clamp(0, 1)]
            forwards, tries = forwards + 2, tries + 1
            better = max(pair, key=score)
            found = any(met(candidate) for candidate in pair)
            if found:
                break
            if score(better) >= current or tries == attack.draws:
                image, current, tries = better, score(better), 0
                whole[one] = image
                if near(whole)[row] > 1 - attack.floor:
                    break
        assert result.forwards[row] == forwards
        assert bool(result.success[row]) == found


def test_draws_are_where_ssim_suffers_least(model: nn.Module) -> None:
    x, labels = batch(model)
    seen = oracle(model, x, Untargeted(labels), labels)
    moved = (x + 0.1 * (images(8, seed=5) - 0.5)).clamp(0, 1)
    pattern = PQP(pixels=20, share=0.3)._pattern(seen, moved, stream=3)
    assert pattern.shape == (8, 1, 16, 16)
    assert ((pattern != 0).flatten(1).sum(dim=1) == 20).all()
    assert torch.allclose(pattern[pattern != 0].abs(), torch.tensor(1 / 255))
    assert (pattern > 0).any()
    assert (pattern < 0).any()
    gradient = seen.distance.value_and_gradient(moved)[1].abs().amax(dim=1)
    bound = gradient.flatten(1).quantile(0.3, dim=1)
    assert (gradient[(pattern != 0).squeeze(1)].reshape(8, 20).amax(dim=1) <= bound).all()


def test_the_first_draws_are_not_bound_to_one_place(model: nn.Module) -> None:
    """At the clean image SSIM's gradient is zero: ties are broken at random, not by position."""
    x, labels = batch(model)
    seen = oracle(model, x, Untargeted(labels), labels)
    drawn = torch.stack([PQP()._pattern(seen, seen.originals, stream) for stream in range(40)]) != 0
    assert (drawn.float().mean(dim=(0, 1, 2)) > 0).float().mean() > 0.99


def test_a_fallen_ssim_ends_a_sample(model: nn.Module) -> None:
    x = images(4)
    labels = predictions(model, x)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2)).eval()
    constant.load_state_dict({"1.weight": torch.zeros(2, x[0].numel()), "1.bias": torch.tensor([2.0, 0.0])})
    attack = PQP(steps=500, pixels=100, delta=0.05)
    result = attack(constant, x, torch.zeros_like(labels))
    assert not result.success.any()
    assert (result.forwards < 2 * attack.steps).all()


def test_grey_images_and_levels() -> None:
    model = convolutional(channels=1)
    x = (images(6, channels=1) * 255).round() / 255
    labels = predictions(model, x)
    result = PQP.paper(steps=300, pixels=60, floor=0.2)(model, x, labels)
    assert result.success.any()
    saved = (result.adversarials * 255).round() / 255
    torch.testing.assert_close(saved, result.adversarials, rtol=0, atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch(model: nn.Module) -> None:
    x, labels = batch(model)
    together = ATTACK(model, x, labels)
    for row in (1, 4):
        alone = ATTACK(model, x[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[row])
        assert alone.forwards[0] == together.forwards[row]


@pytest.mark.parametrize("default", [torch.float32, torch.bfloat16])
def test_changes_are_of_the_images_precision(default: torch.dtype) -> None:
    x, seen = torch.full((1, 3, 12, 12), 0.5, dtype=torch.float64), list[Tensor]()

    def model(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return torch.stack((x.flatten(1).sum(dim=1), 1000 - x.flatten(1).sum(dim=1)), dim=1)

    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        PQP(steps=1)(model, x, torch.tensor([1]), fill_up=False)
    finally:
        torch.set_default_dtype(before)
    assert (seen[1] - x).abs().max().item() == pytest.approx(1 / 255, rel=1e-12)
