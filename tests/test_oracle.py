"""The oracle's promises: what is counted, who pays, what is remembered, and that samples are alone."""

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.oracle import Oracle
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def test_the_pass_over_the_originals_is_taken_once_while_its_graph_is_kept() -> None:
    model, x = convolutional(), images(3)
    labels = predictions(model, x)
    calls, gradients = list[int](), list[Tensor]()
    model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            for again in (True, False, True):
                probe = oracle.probe(oracle.originals)
                gradients.append(oracle.gradient(probe, probe.logits[:, 0], again=again))
            probe = oracle.probe((oracle.originals + 0.1).clamp(0, 1))
            oracle.gradient(probe, probe.logits[:, 0], again=True)
            oracle.probe(oracle.originals)

    result = Looking()(model, x, labels)
    assert (result.forwards == 4).all()  # once for the first two, then anew; the other point; anew after it
    assert len(calls) == 4 + 1  # and the verification
    assert (result.backwards == 4).all()
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])
