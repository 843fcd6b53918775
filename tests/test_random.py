import torch

from minadv import random
from tests.networks import images


def test_noise_depends_on_the_sample_and_the_seed_only() -> None:
    x = images(6)
    keys = random.keys(x, seed=3)
    shuffled = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.equal(random.keys(x[shuffled], seed=3), keys[shuffled])
    assert torch.equal(random.normal(keys, x)[2], random.normal(keys[2:3], x[2:3])[0])
    assert len(set(keys.tolist()) | set(random.keys(x, seed=4).tolist())) == 12
    assert not torch.equal(random.normal(keys, x), random.normal(keys, x, stream=1))


def test_huge_seeds_are_seeds() -> None:
    x = images(1)
    assert random.keys(x, seed=2**70 + 1).shape == (1,)
    assert not torch.equal(random.keys(x, seed=-1), random.keys(x, seed=1))


def test_numbers_are_gaussian_and_uncorrelated() -> None:
    noise = random.normal(random.keys(images(64), seed=0), torch.empty(64, 4000))
    assert abs(noise.mean().item()) < 0.01
    assert abs(noise.std().item() - 1) < 0.01
    assert abs((noise**4).mean().item() - 3) < 0.1
    neighbours = torch.corrcoef(torch.stack((noise[:, :-1].flatten(), noise[:, 1:].flatten())))
    between = torch.corrcoef(noise) - torch.eye(64)
    assert neighbours[0, 1].abs() < 0.01
    assert between.abs().max() < 0.1


def test_directions_have_unit_norm_and_the_global_generator_is_untouched() -> None:
    state = torch.random.get_rng_state()
    x = images(3)
    torch.testing.assert_close(random.unit(random.keys(x, 0), x).flatten(1).norm(dim=1), torch.ones(3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_signs_are_those_of_normal_numbers() -> None:
    key = random.keys(torch.rand(7, 3, 20, 20, generator=torch.Generator().manual_seed(3)), 1)
    like = torch.zeros(7, 3, 20, 20)
    for stream in (0, 5):
        assert torch.equal(random.signs(key, like, stream), random.normal(key, like, stream).sign())


def test_zero_has_one_key_whatever_its_sign() -> None:
    x = images(4) - 0.5
    x[:, :, ::2] = 0
    assert torch.equal(random.keys(x, seed=0), random.keys(torch.where(x == 0, -0.0, x), seed=0))
