"""A model per defect, made from small real networks; and models without one, which must not be accused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import minadv
from minadv import ALMA, cli
from minadv.diagnosis import Diagnosis, beaten, diagnose, static_findings, worse_with_more_steps
from minadv.diagnosis.comparisons import beaten_findings, more_steps_findings
from minadv.diagnosis.random_search import random_search
from tests.networks import Masked, convolutional, generator, images, linear, predictions, with_absent_classes
from tests.shared import SHARED, needs_shared

COUNT = 12
X = images(COUNT)
Y = predictions(convolutional(), X)


class Wrapped(nn.Module):
    """A network with something done to its inputs and its logits."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def wrapped(
    before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Tensor] = lambda z: z
) -> nn.Module:
    return Wrapped(convolutional(), before, after).eval()


def severities(model: Callable[[Tensor], Tensor], x: Tensor = X, y: Tensor = Y) -> dict[str, str]:
    """Check → severity of its findings, from the checks without attacks."""
    found = static_findings(model, x, y, "m")
    for finding in found:
        assert finding.model == "m"
        assert finding.seen
        assert finding.matters
        assert finding.remedy
    return {finding.check: finding.severity for finding in found}


def seen(model: Callable[[Tensor], Tensor], check: str, x: Tensor = X, y: Tensor = Y) -> str:
    (finding,) = (finding for finding in static_findings(model, x, y, "m") if finding.check == check)
    return finding.seen


# no false alarms


def accusations(done: Diagnosis) -> list[str]:
    return [finding.seen for finding in done.findings if finding.severity != "note"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_said_about_a_linear_model(dtype: torch.dtype):
    model, x = linear(48, dtype=dtype), torch.rand(COUNT, 48, generator=generator(), dtype=dtype)
    done = diagnose(model, x, predictions(model, x), steps=10, transfer=[linear(48, seed=0, dtype=dtype)])
    assert accusations(done) == []
    assert [ran.check for ran in done.checks] == [
        "training mode",
        "accuracy",
        "probabilities",
        "scale",
        "randomness",
        "batch dependence",
        "gradients",
        "saturation",
        "random search",
        "more steps",
        "soft gates",
        "transfer from model 1",
    ]
    assert all(ran.finished for ran in done.checks)
    assert (done.samples, done.correct, done.problems) == (COUNT, COUNT, ())


@pytest.mark.parametrize("seed", [0, 1])
def test_luck_in_few_dimensions_is_at_most_a_note(seed: int):
    model, x = linear(12, seed=seed), torch.rand(64, 12, generator=generator(seed))
    assert accusations(diagnose(model, x, predictions(model, x), steps=25)) == []


def test_nothing_is_said_about_two_classes():
    model, x = linear(48, classes=2), torch.rand(COUNT, 48, generator=generator())
    assert accusations(diagnose(model, x, predictions(model, x), steps=10)) == []


def test_nothing_is_said_about_a_convolutional_network():
    assert accusations(diagnose(convolutional(), X, Y, steps=10)) == []


def test_nothing_is_said_about_the_demo():
    model, data = minadv.models.load("demo"), minadv.data.load("demo")
    assert static_findings(model, *data.tensors(32), "demo") == ()
    assert accusations(diagnose(model, *data.tensors(3), steps=3)) == []


@needs_shared
def test_an_adversarially_trained_network_is_not_called_masked():
    model = minadv.models.load(f"zoo:cifar_resnet4b@{SHARED / 'cifar_resnet4b.safetensors'}")
    inputs, labels = minadv.data.load(f"npz:{SHARED / 'cifar10_test_1000.npz'}").tensors(8)
    assert accusations(diagnose(model, inputs, labels, steps=10)) == []


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(convolutional(), nn.BatchNorm1d(5), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnose(model, X, Y, steps=2)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# outputs


def test_probabilities_are_a_problem():
    assert severities(wrapped(after=lambda z: z.softmax(dim=1)))["probabilities"] == "problem"


def test_log_probabilities_are_a_note():
    assert severities(wrapped(after=lambda z: z.log_softmax(dim=1))) == {"probabilities": "note"}


def test_outputs_in_the_unit_interval_that_do_not_sum_to_1_are_no_probabilities():
    assert "probabilities" not in severities(wrapped(after=torch.sigmoid))


@pytest.mark.parametrize(("factor", "severity"), [(1e-5, "problem"), (3e-3, "warning"), (1, None)])
def test_logits_that_hardly_differ_are_found(factor: float, severity: str | None):
    model = wrapped(after=lambda z: factor * z)
    assert severities(model).get("scale") == severity
    if severity == "problem":
        done = diagnose(model, X, predictions(model, X), steps=5)
        assert done.distances is not None
        assert done.distances.white_box.isinf().all()


def test_saturation_counts_the_samples_where_cross_entropy_stands_still():
    model = wrapped(after=lambda z: 1e4 * z)
    leaf = X.clone().requires_grad_()
    nn.functional.cross_entropy(model(leaf), Y, reduction="sum").backward()
    assert leaf.grad is not None
    still = int((leaf.grad == 0).flatten(1).all(dim=1).sum())
    assert still >= COUNT // 2
    assert severities(model) == {"saturation": "problem"}
    assert f"{still} a cross-entropy without gradient" in seen(model, "saturation")
    assert f"of {COUNT} correctly classified samples" in seen(model, "saturation")


# repeatability


def test_randomness_counts_the_predictions_that_change():
    state = generator(3)

    def noisy(z: Tensor) -> Tensor:
        return z + torch.randn(z.shape, generator=state)

    assert severities(wrapped(after=noisy))["randomness"] == "problem"
    state.manual_seed(3)
    passes = [convolutional()(X) + torch.randn(COUNT, 5, generator=state) for _ in range(2)]
    flips = int((passes[0].argmax(dim=1) != passes[1].argmax(dim=1)).sum())
    state.manual_seed(3)
    assert flips > 0
    assert f"change {flips} predictions and the logits of {COUNT} samples" in seen(
        wrapped(after=noisy), "randomness"
    )


def test_a_little_randomness_is_a_warning_and_not_blamed_on_the_batch():
    state = generator()
    found = severities(wrapped(after=lambda z: z + 1e-3 * torch.randn(z.shape, generator=state)))
    assert found == {"randomness": "warning"}


def test_functional_dropout_is_random_in_evaluation_mode():
    assert "randomness" in severities(wrapped(before=nn.functional.dropout))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_no_excuse(dtype: torch.dtype):
    state = generator(3)
    noisy = wrapped(after=lambda z: (z + 0.02 * torch.randn(z.shape, generator=state)).to(dtype))
    assert "randomness" in severities(noisy)
    assert "batch dependence" in severities(wrapped(after=lambda z: (z + 0.05 * z.mean(dim=0)).to(dtype)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_logits_of_another_dtype_are_no_finding(dtype: torch.dtype):
    assert severities(wrapped(after=lambda z: 5 * z.to(dtype))) == {}
    rounded = wrapped(after=lambda z: (z + 1e-6 * z.mean(dim=0)).to(dtype))  # as other orders of summing do
    assert "batch dependence" not in severities(rounded)


def test_randomness_is_found_under_the_callers_autocast():
    state = generator(3)
    model = wrapped(before=lambda x: x + 1e-3 * torch.randn(x.shape, generator=state))
    with torch.autocast("cpu", torch.bfloat16):
        assert severities(model) == {"randomness": "warning"}
        assert severities(convolutional()) == {}


def test_masked_classes_hide_nothing():
    state = generator()
    noisy = wrapped(after=lambda z: with_absent_classes(z + 1e-3 * torch.randn(z.shape, generator=state)))
    assert severities(noisy) == {"randomness": "warning"}
    assert severities(wrapped(after=lambda z: with_absent_classes(z + 1e-4 * z.mean(dim=0)))) == {
        "batch dependence": "warning"
    }
    assert severities(wrapped(after=with_absent_classes)) == {}
    added = wrapped(after=lambda z: torch.cat((z, 30 * z[:, :1] - 1e9), dim=1) * (1 + 3e-7 * z.mean()))
    assert severities(added) == {}  # a masked class is rounded to multiples of 64


@pytest.mark.parametrize(
    "before",
    [
        lambda x: x - x.mean(dim=0) + 0.5,
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x - 0.9 * x[:1],
    ],
    ids=["mean of the batch", "batch statistics", "first sample"],
)
def test_batch_dependence_is_a_problem_when_predictions_change(before: Callable[[Tensor], Tensor]):
    y = predictions(wrapped(before=before), X)
    assert severities(wrapped(before=before), y=y)["batch dependence"] == "problem"


def test_a_little_batch_dependence_is_a_warning():
    found = severities(wrapped(after=lambda z: z + 1e-4 * z.mean(dim=0)))
    assert found == {"batch dependence": "warning"}


def test_batch_norm_that_keeps_no_statistics_is_found():
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), convolutional()).eval()
    assert severities(model, y=predictions(model, X))["batch dependence"] == "problem"


def test_a_single_sample_is_compared_with_itself_among_noise():
    model = wrapped(before=lambda x: x - 0.5 * x.mean(dim=0))
    assert "batch dependence" in severities(model, X[:1], Y[:1])


# gradients


def finding_without_gradient(model: nn.Module) -> str:
    assert severities(model)["gradients"] == "problem"
    return seen(model, "gradients")


def test_rounding_has_zero_gradients():
    assert f"exactly 0 for {COUNT} of {COUNT} samples" in finding_without_gradient(
        wrapped(before=lambda x: (x * 255).round() / 255)
    )


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(np.sqrt(x.numpy()))


@pytest.mark.parametrize("before", [Tensor.detach, through_numpy])
def test_a_cut_graph_is_a_finding_and_not_an_exception(before: Callable[[Tensor], Tensor]):
    assert f"all {COUNT} samples have no gradient" in finding_without_gradient(wrapped(before=before))


def test_infinite_gradients_are_counted():
    x = X.clone()
    x[[2, 5], 0, 0, 0] = 0
    y = predictions(wrapped(before=torch.sqrt), x)
    text = seen(wrapped(before=torch.sqrt), "gradients", x, y)
    assert f"NaN or infinite for 2 of {COUNT} samples" in text
    assert "samples 2, 5" in text


def test_nan_logits_on_some_images_are_counted_and_the_others_attacked():
    def broken(x: Tensor) -> Tensor:
        return x / (x[:, 0, 0, 0] < 1)[:, None, None, None].to(x.dtype)

    x = X.clone()
    x[3, 0, 0, 0] = 1
    done = diagnose(wrapped(before=broken), x, Y, steps=5)
    (finding,) = (finding for finding in done.findings if finding.check == "gradients")
    assert finding.severity == "problem"
    assert f"1 of {COUNT} samples are NaN or infinite (samples 3)" in finding.seen
    assert done.distances is not None
    assert done.distances.samples == tuple(row for row in range(COUNT) if row != 3)
    assert done.distances.white_box.isfinite().all()


def test_samples_keep_their_numbers_beside_samples_without_logits():
    def broken(x: Tensor) -> Tensor:
        return x.sqrt() / (x[:, 0, 0, 0] < 1)[:, None, None, None].to(x.dtype)

    x = X.clone()
    x[[0, 3], 0, 0, 0] = 1
    x[[2, 5], 0, 0, 0] = 0
    y = predictions(wrapped(before=torch.sqrt), x)
    logits, gradient = (
        finding.seen
        for finding in static_findings(wrapped(before=broken), x, y, "m")
        if finding.check == "gradients"
    )
    assert "samples 0, 3" in logits
    assert "samples 2, 5" in gradient


def test_tiny_gradients_are_a_warning():
    def squashed(x: Tensor) -> Tensor:
        return torch.sigmoid(100 * (x - 0.5))

    y = predictions(wrapped(before=squashed), X)
    plateau = torch.where(X > 0.5, 0.9, 0.1)
    found = severities(wrapped(before=squashed), plateau, predictions(wrapped(before=squashed), plateau))
    assert found == {"gradients": "warning"}
    assert "gradients" not in severities(wrapped(before=squashed), X, y)


def right_half_detached(x: Tensor) -> Tensor:
    return torch.cat((x[..., :8], x[..., 8:].detach()), dim=-1)


def test_a_part_without_a_gradient_is_found():
    model = wrapped(before=right_half_detached)
    assert severities(model) == {"gradients": "warning"}
    assert f"the same {3 * 16 * 8} of {3 * 16 * 16} entries of all {COUNT} samples" in seen(model, "gradients")
    state = generator(3)
    noisy = wrapped(before=right_half_detached, after=lambda z: z + 1e-5 * torch.randn(z.shape, generator=state))
    assert severities(noisy) == {"gradients": "warning", "randomness": "warning"}


@pytest.mark.parametrize(
    "before",
    [
        lambda x: nn.functional.pad(x[..., 4:-4, 4:-4], (4, 4, 4, 4)),
        lambda x: torch.relu(x - 0.02) + torch.relu(x - 0.5),
        lambda x: nn.functional.interpolate(nn.functional.max_pool2d(x, 4), scale_factor=4),
        torch.relu,
    ],
    ids=["cropped", "off in the dark", "the largest of 16", "at its kink in the dark"],
)
def test_parts_that_are_not_used_are_no_finding(before: Callable[[Tensor], Tensor]):
    x = X.clone()
    x[..., :3], x[..., -3:] = 0, 0
    y = predictions(wrapped(before=before), x)
    assert severities(wrapped(before=before), x, y) == {}
    state = generator(3)
    noisy = wrapped(before=before, after=lambda z: z + 1e-3 * torch.randn(z.shape, generator=state))
    assert severities(noisy, x, y) == {"randomness": "warning"}


# training mode


def test_layers_in_training_mode_are_named():
    model = nn.Sequential(convolutional(), nn.Dropout(0.3), nn.BatchNorm1d(5)).eval()
    model[1].train()
    assert severities(model)["training mode"] == "warning"
    text = seen(model, "training mode")
    assert "1 of" in text
    assert "1 Dropout (1)" in text
    model.train()
    assert "1 Dropout, 1 BatchNorm1d (1, 2)" in seen(model, "training mode")


def test_training_mode_of_layers_that_do_not_care_is_a_note():
    assert severities(convolutional().train()) == {"training mode": "note"}


# masking


def stairs(x: Tensor) -> Tensor:
    """Rounding to 8 levels by steep sigmoids: differentiable, and flat almost everywhere."""
    low = (x * 7).floor()
    return (low + torch.sigmoid(200 * (x * 7 - low - 0.5))) / 7


@pytest.mark.parametrize(
    ("check", "model", "x"),
    [
        ("random search", Wrapped(linear(12), stairs), torch.rand(COUNT, 12, generator=generator())),
        ("soft gates", Masked(), 0.5 + 0.15 * torch.rand(COUNT, 1, 7, 7, generator=generator(8))),
    ],
)
def test_others_beat_the_white_box_on_a_masked_model(check: str, model: nn.Module, x: Tensor):
    model.eval()
    done = diagnose(model, x, predictions(model, x), steps=20)
    found = {finding.check: finding for finding in done.findings}
    assert found[check].severity == "problem"
    assert done.distances is not None
    other = {"random search": done.distances.random, "soft gates": done.distances.soft}[check]
    smaller = beaten(done.distances.white_box, other)
    assert f"on {int(smaller.sum())} of {COUNT} samples" in found[check].seen


def test_without_any_gradient_the_random_search_is_all_there_is():
    done = diagnose(wrapped(before=through_numpy), X, predictions(wrapped(before=through_numpy), X), steps=5)
    assert done.distances is not None
    assert done.distances.white_box.isinf().all()
    assert done.distances.random.isfinite().all()
    assert {"gradients", "random search"} == {finding.check for finding in done.findings}


def test_transfer_beats_the_white_box_where_only_another_model_has_gradients():
    model = wrapped(before=lambda x: (x * 63).round() / 63)
    y = predictions(model, X)
    done = diagnose(model, X, y, steps=10, transfer={"smooth": convolutional()})
    assert "smooth" in next(f for f in done.findings if f.check == "transfer").seen
    assert done.distances is not None
    # on the line to the smooth model's adversarials: misclassified where it was found, not a little before
    ends = ALMA(distance="l2", steps=10, constraint="dlr", soft_gates=False)(convolutional(), X, y).adversarials
    length = (ends - X).flatten(1).norm(dim=1)
    share = (done.distances.transfer["smooth"] / length)[:, None, None, None]
    assert (share < 8).all()
    before, at = ((X + s * (ends - X)).clamp(0, 1) for s in (share - 2 / 2**12, share + 1e-5))
    assert (predictions(model, at) != y).all()
    assert (predictions(model, before) == y).float().mean() > 0.8  # rounded boundaries are crossed more than once


def test_a_transfer_model_of_other_classes_is_a_finding():
    done = diagnose(convolutional(), X, Y, steps=2, transfer=[convolutional(classes=7)])
    assert "7 classes, this one 5" in next(f.seen for f in done.findings if f.check == "transfer from model 1")


@needs_shared
def test_more_steps_make_it_worse_on_mnist_kw():
    model = minadv.models.load(f"zoo:mnist_kw@{SHARED / 'mnist_kw.safetensors'}")
    inputs, labels = minadv.data.load(f"npz:{SHARED / 'mnist_test.npz'}").tensors(16)
    done = diagnose(model, inputs, labels, steps=100)
    assert [(finding.check, finding.severity) for finding in done.findings] == [
        ("more steps", "problem"),
        ("soft gates", "problem"),
    ]


# comparisons of stored distances

INF, NAN = float("inf"), float("nan")


def test_beaten_needs_more_than_a_percent_and_a_result_of_both():
    white_box = torch.tensor([1.0, 1.0, 1.0, INF, INF, 1.0, 0.0, NAN, 1.0])
    other = torch.tensor([0.98, 0.995, 2.0, 3.0, INF, INF, 0.0, 0.5, NAN])
    assert beaten(white_box, other).tolist() == [True, False, False, True] + 5 * [False]
    (finding,) = beaten_findings("c", "m", ("white", white_box), ("other", other), "r")
    assert "2 of 6 samples" in finding.seen
    assert "median ratio is 0.98" in finding.seen
    assert "1 of them" in finding.seen
    assert finding.severity == "problem"
    for count, severity in ((1, "note"), (2, "note"), (3, "warning"), (4, "warning"), (5, "problem")):
        other = torch.ones(40)
        other[:count] = 0.5
        (finding,) = beaten_findings("c", "m", ("white", torch.ones(40)), ("other", other), "r")
        assert finding.severity == severity
        assert (finding.remedy == "r") == (severity != "note")  # a note is good to know, and asks for little
    (finding,) = beaten_findings("c", "m", ("white", torch.ones(3)), ("other", torch.tensor([0.5, 1, 1])), "r")
    assert finding.severity == "note"  # one sample is no share
    assert beaten_findings("c", "m", ("white", torch.ones(4)), ("other", torch.ones(4)), "r") == ()


def test_more_steps_are_judged_by_median_and_by_share():
    few, longer = torch.linspace(1, 2, 11), torch.linspace(1, 2, 11)
    assert more_steps_findings("m", ("few", few), ("many", longer)) == ()
    longer[:3] *= 1.02  # 27 %, below the median
    seen = worse_with_more_steps(few, longer)
    assert (int(seen.worse.sum()), seen.larger_median, seen.often_worse) == (3, False, True)
    assert more_steps_findings("m", ("few", few), ("many", longer))[0].severity == "warning"
    middle = few.clone()
    middle[5] = few[6]
    seen = worse_with_more_steps(few, middle)
    assert seen.many > 1.01 * seen.few
    assert (int(seen.worse.sum()), seen.larger_median) == (1, False)  # one sample in the middle is luck
    seen = worse_with_more_steps(few, few * 1.02)
    assert (seen.larger_median, round(seen.many / seen.few, 4)) == (True, 1.02)
    assert more_steps_findings("m", ("few", few), ("many", few * 1.02))[0].severity == "problem"
    assert more_steps_findings("m", ("few", few[:5]), ("many", 2 * few[:5])) == ()  # too few to judge
    assert more_steps_findings("m", ("few", few), ("many", torch.full_like(few, INF)))[0].severity == "problem"


# the random search


def test_random_search_is_verified_and_above_the_minimum_of_a_linear_model():
    model, x = linear(24), torch.rand(COUNT, 24, generator=generator())
    y = predictions(model, x)
    y[4] = (y[4] + 1) % 4
    result = random_search(model, x, y)
    assert result.success.all()
    assert result.distances[4] == 0
    assert (predictions(model, result.adversarials) != y).all()
    length = (result.adversarials - x).double().square().sum(dim=1).sqrt()
    np.testing.assert_allclose(result.distances, length, rtol=1e-6)
    W, b = model.layer.weight.detach(), model.layer.bias.detach()
    z = x @ W.T + b
    gap = (z.gather(1, y[:, None]) - z) / (W[y][:, None] - W).norm(dim=2)
    minimum = gap.masked_fill(nn.functional.one_hot(y, 4).bool(), INF).amin(dim=1).clamp_min(0)
    others = torch.arange(COUNT) != 4
    ratio = (result.distances / minimum)[others]
    assert (ratio >= 1).all()
    assert ratio.median() < 1.5
    assert result.forwards.unique().tolist() == [300]
    assert (result.backwards == 0).all()


def test_random_search_does_not_depend_on_the_batch():
    model = convolutional()
    whole = random_search(model, X, Y, pool=X, queries=120)
    some = random_search(model, X[3:6], Y[3:6], pool=X, queries=120)
    assert torch.equal(whole.adversarials[3:6], some.adversarials)
    assert not torch.equal(
        random_search(model, X[3:6], Y[3:6], pool=X, queries=120, seed=1).adversarials, some.adversarials
    )


def test_random_search_finds_starts_in_noise_when_the_pool_has_none():
    model = linear(24)
    x = torch.rand(64, 24, generator=generator())
    y = predictions(model, x)
    rows = y == y[0]
    assert random_search(model, x[rows], y[rows]).success.any()


def test_random_search_says_how_many_queries_it_needs():
    with pytest.raises(ValueError, match="queries must be ≥ 100, got 3"):
        random_search(convolutional(), X, Y, queries=3)


# what goes wrong


def test_what_a_model_raises_is_a_finding():
    def fussy(x: Tensor) -> Tensor:
        if len(x) == 1:
            raise KeyError("one is too few")
        return x

    done = diagnose(wrapped(before=fussy), X, Y, steps=5)
    (finding,) = done.findings
    assert (finding.check, finding.severity) == ("batch dependence", "problem")
    assert "KeyError: 'one is too few'" in finding.seen
    assert [ran.check for ran in done.checks if not ran.finished] == ["batch dependence"]


def test_a_model_that_cannot_run_at_all_raises_or_is_a_finding():
    grey = images(COUNT, channels=1)
    with pytest.raises(RuntimeError, match="channels"):
        diagnose(convolutional(), grey, Y)
    assert severities(convolutional(), grey) == {"forward": "problem"}


def test_bad_input_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match=r"inputs must be finite and in \[0, 1\]"):
        static_findings(convolutional(), X - 1, Y, "m")
    with pytest.raises(ValueError, match=r"labels must be in \[0, 5\)"):
        diagnose(convolutional(), X, Y + 5)


def test_guessing_is_a_problem_and_other_classes_are_told():
    done = diagnose(convolutional(), X, (Y + 1) % 5)
    (finding,) = done.findings
    assert (finding.severity, finding.check) == ("problem", "accuracy")
    assert (
        f"0 of {COUNT} samples are classified correctly, no more than by guessing among 5 classes" in finding.seen
    )
    assert "the classes may be in another order" in finding.seen
    assert done.distances is None


@pytest.mark.parametrize(
    ("right", "severity"), [(2, "problem"), (3, "problem"), (4, "warning"), (5, "warning"), (6, None), (12, None)]
)
def test_an_accuracy_below_half_is_said(right: int, severity: str | None):
    y = torch.where(torch.arange(COUNT) < right, Y, (Y + 1) % 5)
    assert severities(convolutional(), y=y).get("accuracy") == severity


def test_a_few_samples_accuse_nobody():
    assert severities(convolutional(), X[:3], (Y[:3] + 1) % 5) == {"accuracy": "warning"}
    assert severities(convolutional(), X[:1], Y[:1]) == {}


def test_reasons_of_a_low_accuracy_are_seen():
    dark = X / X.max() * 16 / 255
    assert "no value of the images is above 0.0627" in seen(convolutional(), "accuracy", dark, (Y + 1) % 5)
    one = wrapped(after=lambda z: z * 0 + torch.arange(5))
    assert "all are taken for class 4" in seen(one, "accuracy", X, torch.zeros_like(Y))


def test_progress_goes_from_0_to_nearly_1_in_every_part():
    told: dict[str, list[float]] = {}

    def listen(what: str, share: float) -> None:
        told.setdefault(what, []).append(share)

    diagnose(convolutional(), X, Y, steps=3, progress=listen)
    assert list(told) == ["checks", "ALMA, 3 steps", "ALMA, 30 steps", "random search", "soft gates"]
    assert told["ALMA, 30 steps"] == sorted(told["ALMA, 30 steps"])
    assert 0.9 < told["ALMA, 30 steps"][-1] <= 1


def test_a_diagnosis_repeats_itself():
    def distances(done: Diagnosis) -> Tensor:
        assert done.distances is not None
        return torch.stack((done.distances.few, done.distances.many, done.distances.random))

    one, two = (diagnose(convolutional(), X[:4], Y[:4], steps=2) for _ in range(2))
    assert torch.equal(distances(one), distances(two))


# command line


def probabilistic() -> nn.Module:
    return wrapped(after=lambda z: z.softmax(dim=1))


def healthy() -> nn.Module:
    return convolutional()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    stored = (X * 255).round().to(torch.uint8)
    labels = predictions(convolutional(), stored.float() / 255)
    np.savez(path, images=stored.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    return f"npz:{path}"


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["diagnose", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


def test_the_command_line_ends_with_0_when_nothing_is_found(data: str):
    code, text = run("python:tests.test_diagnosis:healthy", data, "--steps", 10)
    assert code == 0, text
    assert "nothing found" in text
    assert "ok more steps" in text


def test_the_command_line_ends_with_1_and_says_what_to_do(data: str, tmp_path: Path):
    file = tmp_path / "found.json"
    spec = "python:tests.test_diagnosis:probabilistic"
    code, text = run(spec, data, "--no-attack", "--samples", 6, "--json", file)
    assert code == 1, text
    assert "Take the softmax out" in text
    assert "random search" not in text
    stored = json.loads(file.read_text())
    assert (stored["model"], stored["samples"], stored["distances"]) == (spec, 6, None)
    found = {ran["check"]: ran["findings"] for ran in stored["checks"]}
    assert found["probabilities"][0]["severity"] == "problem"


def test_the_document_has_the_distances(data: str, tmp_path: Path):
    file = tmp_path / "found.json"
    healthy = "python:tests.test_diagnosis:healthy"
    assert run(healthy, data, "--steps", 4, "--transfer", healthy, "--json", file)[0] in (0, 1)
    distances = json.loads(file.read_text())["distances"]
    assert distances["steps"] == 4
    assert len(distances["samples"]) == len(distances["few"]) == len(distances["transfer"][healthy]) == COUNT


def test_the_command_line_ends_with_2_for_bad_input(data: str):
    for words in (("demo", "nonsense:x"), ("zoo:nonsense", data), ("zoo:mnist_kw@random", data)):
        code, text = run(*words)
        assert code == 2, text
        assert text.startswith("error: ")


def test_names_are_not_markup(data: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minadv.models.load", lambda _spec, **_options: convolutional())
    code, text = run("[bold]x[/bold]", data, "--no-attack")
    assert code == 0, text
    assert "[bold]x[/bold]: 12 samples" in text


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"seed": 1.5}, {"transfer": linear(48)}])
def test_what_is_asked_for_is_checked(wrong: dict[str, Any]):
    model, x = linear(48), torch.rand(4, 48, generator=generator())
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        diagnose(model, x, predictions(model, x), **wrong)
