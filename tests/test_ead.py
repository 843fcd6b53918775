"""EAD's own: runs that cannot move end at once, and that changes no answer."""

import torch

from minadv import EAD
from tests.networks import Linear, generator, images, predictions


def steep(entries: int) -> Linear:
    """Logits whose differences have gradients between 1 and 10 in their largest entry."""
    weight = torch.randn(3, entries, generator=generator(), dtype=torch.float64).float()
    return Linear(weight, -0.5 * weight.sum(dim=1)).eval()


def test_runs_that_cannot_leave_the_original_end_at_once() -> None:
    x = images(12, channels=1, side=6)
    model = steep(36)
    y = predictions(model, x)
    # a first step is longest, rate·c·|∇m|, and has to pass the threshold β
    enough = EAD(steps=40, searches=1, c=100 / 512, rate=0.05)(model, x, y)
    stuck = EAD(steps=40, searches=3, c=1 / 512, rate=0.05)(model, x, y)
    assert enough.success.sum() >= 6
    torch.testing.assert_close(stuck.adversarials, enough.adversarials, rtol=0, atol=0)
    assert ((stuck.forwards - enough.forwards) <= 2).all()  # of two runs; their clean passes are known at first
    assert ((stuck.backwards - enough.backwards) == 2).all()


def test_published_batches_and_no_abortion_spend_what_they_did() -> None:
    x = images(4, channels=1, side=6)
    model = steep(36)
    y = predictions(model, x)
    whole = EAD(steps=20, searches=2, c=1e-4, abort_early=False)(model, x, y)
    assert (whole.backwards == 40).all()
    together = EAD(steps=20, searches=1, c=1e-4, compat="batch", patience=1)(model, x, y)
    # nobody leaves the original, so the loss is the same at the second check, i = ⌈20/10⌉
    assert (together.backwards == 2 + 1).all()
    assert (together.forwards == 2 * 3 - 1 + 1).all()
