"""A simple decision-based random search for small ℓ2 perturbations, to hold against attacks by gradients.

It sees only whether an image is misclassified. Starts are the nearest image of another predicted class and images
of noise, drawn to the boundary by bisection; then random steps sideways and inwards, with a size per sample that
follows its success. On a model whose gradients are of any use it stays far behind an attack that follows them.
"""

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, inner, norm
from minadv.diagnosis.decisions import Decisions
from minadv.goals import Untargeted
from minadv.guard import Model, guarded
from minadv.result import Result
from minadv.shapes import per_sample
from minadv.validation import check_classes, check_inputs, check_logits
from minadv.verification import Settings, classify

NOISE_STARTS = 3
FIRST_SIZE, LEAST_SIZE, LARGEST_SIZE = 0.3, 1e-4, 1.0
# in balance when a quarter of the proposals is accepted
GROWTH, DECAY = 1.3, 1.3 ** (-1 / 3)
# random numbers of a sample: streams of the starts, then one per proposal
NOISE_STREAM, PROPOSAL_STREAM = 0, NOISE_STARTS
LAST_HALVINGS = 8


def random_search(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    pool: Tensor | None = None,
    queries: int = 300,
    seed: int = 0,
) -> Result:
    """Search small ℓ2 perturbations by decisions alone.

    Args:
        model: from inputs in [0, 1] to logits.
        inputs: (batch, ...) floating point in [0, 1].
        labels: (batch,) int64 true classes.
        pool: (n, ...) images to start from; None is the inputs. A sample's result depends on its content, the seed
            and the pool, not on the rest of the batch.
        queries: forward passes of each sample, starts included, before the verification; at least 100.
        seed: of the random numbers.

    Returns:
        A verified result, as attacks return it.

    Raises:
        TypeError, ValueError: for bad input.
    """
    if queries < 100:
        raise ValueError(f"queries must be ≥ 100, got {queries}: the starts alone take about 60")
    inputs = check_inputs(inputs).contiguous()
    pool = inputs if pool is None else check_inputs(pool)
    settings = Settings(seed=seed)
    goal = Untargeted(check_classes("labels", labels, inputs))
    with guarded(model, inputs) as logits, torch.no_grad():
        clean = classify(logits, inputs, settings)
        check_logits(clean.nan_to_num(0, 0, 0), inputs)
        of_pool = clean if pool is inputs else classify(logits, pool, settings)
        decisions = Decisions(logits, inputs, goal, settings, queries=1)
        keys = random.keys(inputs, seed)
        nearest = _nearest_of_another_class(inputs, goal.labels, pool, of_pool)
        best, found = _start(decisions, keys, nearest)
        best = _walk(decisions, keys, best, found, queries - LAST_HALVINGS - 1)
        best, found = decisions.along(best, halvings=LAST_HALVINGS)
        return decisions.result(best, found, clean)


def _nearest_of_another_class(inputs: Tensor, labels: Tensor, pool: Tensor, of_pool: Tensor) -> Tensor:
    """Return each input's nearest image of the pool that is not classified as its label, if there is one."""
    # differences, not a matrix product: its rounding would depend on the batch
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(inputs.flatten(1), pool.flatten(1), compute_mode=exact)
    usable = of_pool.isfinite().all(dim=1) & (of_pool.argmax(dim=1) != labels[:, None])
    return pool[distances.where(usable, torch.inf).argmin(dim=1)]


def _start(decisions: Decisions, keys: Tensor, nearest: Tensor) -> tuple[Tensor, Tensor]:
    """Bisect towards each start and return the nearest adversarial per sample, and whether there is one."""
    x0 = decisions.originals
    count = x0[0].numel()
    noise = (random.uniform(keys, count, NOISE_STREAM + j).reshape(x0.shape) for j in range(NOISE_STARTS))
    best, shortest = x0, torch.full_like(x0.flatten(1)[:, 0], torch.inf)
    for end in (nearest, *(image.to(x0.dtype) for image in noise)):
        image, adversarial = decisions.along(end)
        length = norm(image - x0, 2).where(adversarial, torch.inf)
        best = image.where(per_sample(length < shortest, x0), best)
        shortest = torch.minimum(length, shortest)
    return best, shortest.isfinite()


def _walk(decisions: Decisions, keys: Tensor, best: Tensor, found: Tensor, until: int) -> Tensor:
    """Propose steps until so many queries are asked; a step is taken when it is adversarial and nearer."""
    x0 = decisions.originals
    size = torch.full_like(keys, FIRST_SIZE, dtype=x0.dtype)
    stream = PROPOSAL_STREAM
    while decisions.queries < until:
        proposal = _propose(best - x0, random.normal(keys, x0, stream), size).add_(x0).clamp_(0, 1)
        nearer = norm(proposal - x0, 2) < norm(best - x0, 2)
        taken = decisions(proposal) & nearer & found
        best = proposal.where(per_sample(taken, x0), best)
        size = (size * torch.where(taken, GROWTH, DECAY)).clamp(LEAST_SIZE, LARGEST_SIZE)
        stream += 1
    return best


def _propose(change: Tensor, noise: Tensor, size: Tensor) -> Tensor:
    """Turn a perturbation by an angle of about `size` in a random direction, and shorten it by size²/2.

    That is what the turn loses against a flat boundary, so that one size rules both.
    """
    length = norm(change, 2)
    direction = change / per_sample(length.clamp_min(TINY), change)
    sideways = noise - per_sample(inner(noise, direction), noise) * direction
    sideways = sideways / per_sample(norm(sideways, 2).clamp_min(TINY), noise)
    turned = direction + per_sample(size, noise) * sideways
    turned = turned / per_sample(norm(turned, 2), noise)
    return per_sample(length * (1 - size.square() / 2), noise) * turned
