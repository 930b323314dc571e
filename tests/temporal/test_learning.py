"""What examples say, and that a network learns it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dds_fast.temporal import learning
from dds_fast.temporal.features import N_FEATURES
from dds_fast.temporal.learning import example, learn
from dds_fast.temporal.network import NoteNetwork


def test_an_example_says_what_was_played() -> None:
    features = np.zeros((2, N_FEATURES, 10), np.float32)
    intervals = np.array([[0.2, 0.5], [0.5, 0.8], [0.1, 0.9]])
    one = example(np.array([0, 3]), features, intervals, np.array([3, 3, 1]), frame_rate=10)
    assert one.sounding.tolist() == [[0] * 10, [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]]
    assert one.struck.nonzero().tolist() == [[1, 2], [1, 5]]
    # What rings on after a note counts less, where no other has begun.
    assert one.weight[1].tolist() == pytest.approx([1] * 8 + [0.3] * 2)


def test_how_long_a_release_is() -> None:
    """0.12 s count for less: of a note that ends at 0.2 s, all up to the frame at 0.32 s."""
    features = np.zeros((1, N_FEATURES, 50), np.float32)
    one = example(np.array([0]), features, np.array([[0.1, 0.2]]), np.array([0]), frame_rate=100)
    assert one.weight[0].tolist() == pytest.approx([1] * 20 + [0.3] * 12 + [1] * 18)


def test_the_loss_by_hand() -> None:
    """Strikes count twice, and one that is missed as much as eight that were none; each of the
    networks learns by what it says itself."""
    one, network = made(0), NoteNetwork()
    one.weight[0, :50] = 0.3
    with torch.no_grad():
        sounding, struck = (x[0].double().numpy() for x in network.members(one.features).unbind(2))
        found = float(learning._loss(network, one))
    y, hit = one.sounding[0].numpy(), one.struck[0].numpy()
    p, q = 1 / (1 + np.exp(-sounding)), 1 / (1 + np.exp(-struck))
    first = -one.weight[0].numpy() * (y * np.log(p) + (1 - y) * np.log(1 - p))
    second = -(8 * hit * np.log(q) + (1 - hit) * np.log(1 - q))
    assert found == pytest.approx(first.mean() + 2 * second.mean(), rel=1e-5)


def test_the_mean_of_the_networks_counts() -> None:
    one, network = made(0), NoteNetwork()
    network.offset.fill_(0.5)
    with torch.no_grad():
        each, said = network.members(one.features), network(one.features)
    assert each.shape[1] > 1 and float(each.std(1).mean()) > 1e-3
    torch.testing.assert_close(said, each.mean(1) + 0.5)


def made(seed: int) -> learning.Example:
    """One source, that sounds where its first feature is high and is struck where its second is."""
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.choice(np.arange(2, 95), 6, replace=False))
    intervals = np.stack([onsets, np.minimum(onsets + 4, 100)], 1) / 10.0
    features = rng.standard_normal((1, N_FEATURES, 100)).astype(np.float32)
    one = example(np.array([0]), features, intervals, np.zeros(6, int), frame_rate=10)
    one.features[:, 0] += 8 * one.sounding
    one.features[:, 1] += 8 * one.struck
    return one


def test_what_can_be_told_is_learned() -> None:
    losses: list[float] = []
    network = learn([made(seed) for seed in range(8)], report=lambda _, loss: losses.append(loss))
    assert len(losses) == learning.epochs(8) == learning.MOST_EPOCHS
    assert losses[-1] < 0.3 * losses[0]
    unheard = made(99)
    sounding, struck = network(unheard.features).unbind(1)
    assert ((sounding > 0) == (unheard.sounding > 0)).float().mean() > 0.95
    assert torch.equal(struck[0].topk(6).indices.sort().values, unheard.struck[0].nonzero()[:, 0])


def test_the_seed_decides() -> None:
    examples = [made(0), made(1)]
    first, again, other = (learn(examples, seed).layers[0].weight for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_network_is_restored_from_its_tensors_alone() -> None:
    network = NoteNetwork(random_state=1)
    network.offset.fill_(0.25)
    tensors = dict(network.state_dict())
    features = torch.randn(2, N_FEATURES, 30)
    assert torch.equal(NoteNetwork.restored(tensors)(features), network(features))
    for name in ("mean", "layers.1.weight"):
        for bad in (None, torch.zeros(1), torch.zeros_like(tensors[name], dtype=torch.int64)):
            damaged = {key: value for key, value in tensors.items() if key != name}
            with pytest.raises(ValueError, match=f"{name} must be floats"):
                NoteNetwork.restored(damaged if bad is None else {**damaged, name: bad})
    with pytest.raises(ValueError, match="unknown"):
        NoteNetwork.restored({**tensors, "more": torch.zeros(1)})
