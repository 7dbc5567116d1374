"""Training a CIFAR ResNet: schedule, optimizer, resuming to the bit, divergence, augmentation, accuracy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from empirical import kept, training
from empirical.labelled import CLASSES, Images, digit_images, images
from empirical.training import Training, accuracy, augmented, drawn, sgd, step


@dataclass(frozen=True)
class First:
    """The first digits of a part."""

    count: int
    part: str

    @property
    def labels(self):
        return digit_images(8, self.part).labels[: self.count]

    def take(self, rows):
        return digit_images(8, self.part).take(np.arange(self.count)[rows])


FEW = Images(First(20, "training"), First(12, "test"))


def flat(module):
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def assert_same(found, expected):
    assert set(found) == set(expected) == {"train_accuracy", "test_accuracy"}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


# ---- steps -----------------------------------------------------------------------------------------------------------


def spy(monkeypatch, act=lambda number: None):
    """Record learning rate and classes of every step, after `act` on its number."""
    seen, take = [], training.step

    def watched(module, optimizer, x, y):
        act(len(seen))
        seen.append((optimizer.param_groups[0]["lr"], x.clone()))
        return take(module, optimizer, x, y)

    monkeypatch.setattr(training, "step", watched)
    return seen


@pytest.mark.parametrize(("epochs", "tenths"), [(1, [0]), (3, [0, 0, 1]), (4, [0, 0, 1, 2]),
                                                (8, [0, 0, 0, 0, 1, 1, 2, 2])])
def test_the_learning_rate_is_divided_by_ten_after_a_half_and_after_three_quarters(monkeypatch, epochs, tenths):
    seen = spy(monkeypatch)
    Training(8, "every", 0.02, 0, epochs, 10, FEW).run(None)
    assert [rate for rate, _ in seen[::2]] == pytest.approx([0.02 / 10**k for k in tenths], rel=1e-12)
    assert [rate for rate, _ in seen[::2]] == [rate for rate, _ in seen[1::2]]


def test_an_epoch_takes_every_image_once_in_another_order_and_leaves_a_smaller_batch_out(monkeypatch):
    seen = spy(monkeypatch)
    Training(8, "every", 0.02, 0, 2, 6, FEW).run(None)
    all_images = FEW.training.take(slice(None)).reshape(20, -1)
    rows = [[int(np.abs(all_images - one.numpy().ravel()).sum(1).argmin()) for one in x] for _, x in seen]
    assert [len(batch) for batch in rows] == [6] * 6
    epochs = [[row for batch in part for row in batch] for part in (rows[:3], rows[3:])]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert epochs[0] != epochs[1]
    del seen[:]
    Training(8, "every", 0.02, 1, 1, 100, FEW).run(None)
    assert [len(x) for _, x in seen] == [20]  # fewer images than a batch: all of them


def test_a_step_is_that_of_momentum_and_weight_decay():
    """v <- .9 v + g + 1e-4 w, w <- w - rate v; the loss and the logits are those before it."""
    rng = np.random.default_rng(0)
    x, y = torch.as_tensor(rng.standard_normal((5, 4))), torch.as_tensor(rng.integers(0, 3, 5))
    module = nn.Linear(4, 3).double()
    optimizer, w, v = sgd(module, 0.3), module.weight.detach().clone().numpy(), 0.0
    bias = module.bias.detach().clone().numpy()
    module.bias.requires_grad_(False)
    for _ in range(3):
        logits = x.numpy() @ w.T + bias
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        found, loss = step(module, optimizer, x, y)
        np.testing.assert_allclose(found, logits, rtol=1e-12)
        assert loss == pytest.approx(-np.log(p[np.arange(5), y]).mean(), rel=1e-12)
        v = 0.9 * v + (p - np.eye(3)[y]).T @ x.numpy() / 5 + 1e-4 * w
        w = w - 0.3 * v
        np.testing.assert_allclose(module.weight.detach(), w, rtol=1e-12)


def test_the_seed_decides_the_weights():
    first = flat(drawn(8, "every", 5))
    assert torch.equal(first, flat(drawn(8, "every", 5)))
    assert not torch.equal(first, flat(drawn(8, "every", 6)))
    assert torch.equal(first.double(), flat(drawn(8, "every", 5, dtype="float64")))
    assert drawn(8, "every", 5).training


def test_networks_drawn_in_threads_are_those_drawn_alone():
    alone = [flat(drawn(8, "none", seed)) for seed in range(30)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: flat(drawn(8, "none", seed)), range(30)))
    assert [seed for seed in range(30) if not torch.equal(alone[seed], together[seed])] == []


def test_random_states_are_left_alone_and_decide_nothing():
    job = Training(8, "every", 0.1, 0, 1, 10, replace(FEW, augmented=True))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = job.run(None)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(2)
        assert_same(job.run(None), first)


# ---- interruption ----------------------------------------------------------------------------------------------------


class Stop:
    """Ctrl-C at a call of a function."""

    def __init__(self, function, number):
        self.function, self.left = function, number

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.function(*arguments)


def run(job, folder):
    return kept.answers([job], folder, None, "", show=False)[0]


@pytest.mark.parametrize(("norm", "where", "call", "done"), [
    ("every", "accuracy", 3, 2), ("every", "step", 3, 0), ("last", "step", 6, 1)])
def test_an_interrupted_run_goes_on_from_its_last_epoch_to_the_same_bits(cifar_folder, monkeypatch, norm, where, call,
                                                                         done):
    """Augmented images, running statistics, momenta; five steps an epoch, in an epoch or at its end."""
    job, folder = Training(8, norm, 0.05, 0, 3, 4, images(cifar_folder)), cifar_folder / "kept"
    expected = job.run(None)
    with monkeypatch.context() as patch:
        patch.setattr(training, where, Stop(getattr(training, where), call))
        with pytest.raises(KeyboardInterrupt):
            run(job, folder)
    assert [path.suffix for path in folder.iterdir()] == [".partial"] * (done > 0)
    seen = spy(monkeypatch)
    assert_same(run(job, folder), expected)
    assert len(seen) == 5 * (3 - done)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_the_state_is_kept_to_the_bit(tmp_path):
    """Weights after a run in two parts, not accuracies alone: through what the third epoch leaves in the file."""
    job = Training(8, "every", 0.05, 0, 3, 5, FEW)
    states = []
    for part in (None, 2):
        file = tmp_path / f"{part}.partial"
        with pytest.MonkeyPatch.context() as patch:
            if part:
                patch.setattr(training, "accuracy", Stop(accuracy, part))
                with pytest.raises(KeyboardInterrupt):
                    job.run(file)
                patch.undo()
            job.run(file)
        states.append(kept.read(file, repr(job)))
    assert set(states[0]) == set(states[1])
    assert sum(name.startswith("momentum.") for name in states[0]) == len([*drawn(8, "every", 0).parameters()])
    for name, value in states[0].items():
        assert value.dtype == states[1][name].dtype, name
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def test_a_run_all_of_whose_epochs_are_kept_trains_no_more(tmp_path, monkeypatch):
    """Ended between its last epoch and its answer."""
    job, file = Training(8, "every", 0.05, 0, 2, 10, FEW), tmp_path / "x.partial"
    expected = job.run(file)
    seen = spy(monkeypatch)
    assert_same(job.run(file), expected)
    assert not seen


@pytest.mark.parametrize("damage", ["cut", "of another job"])
def test_a_partial_file_that_is_damaged_or_anothers_is_set_aside(tmp_path, damage):
    job, file = Training(8, "every", 0.05, 0, 2, 10, FEW), tmp_path / "x.partial"
    (job if damage == "cut" else replace(job, seed=1)).run(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.warns(UserWarning, match=r"damaged.*x\.partial"):
        found = job.run(file)
    assert_same(found, job.run(None))


# ---- divergence and learning -----------------------------------------------------------------------------------------


def test_a_run_that_diverges_counts_as_a_guess():
    found = Training(8, "none", 1e6, 0, 3, 10, FEW).run(None)
    assert_same(found, {name: np.full(3, 1 / CLASSES) for name in found})


@pytest.mark.parametrize("broken", ["loss", "weights"])
def test_from_the_epoch_on_in_which_it_diverges(monkeypatch, tmp_path, broken):
    """A loss that is no number in the second epoch, or weights that are none after its last step."""
    job, take, taken = Training(8, "every", 0.05, 0, 4, 10, FEW), training.step, []
    expected = job.run(None)

    def breaking(module, optimizer, x, y):
        logits, loss = take(module, optimizer, x, y)
        taken.append(loss)
        if len(taken) == 4 and broken == "weights":
            with torch.no_grad():
                module.fc.weight[0, 0] = torch.inf
        return logits, float("nan") if len(taken) == 4 and broken == "loss" else loss

    monkeypatch.setattr(training, "step", breaking)
    found = job.run(tmp_path / "x.partial")
    assert len(taken) == 4
    assert_same(found, {name: np.array([values[0], 0.1, 0.1, 0.1]) for name, values in expected.items()})
    assert np.isfinite(kept.read(tmp_path / "x.partial", repr(job))["state.fc.weight"]).all()


def test_it_learns_the_digits():
    """Two epochs of 44 steps: .96 to .99 of unseen digits for seeds 0 to 4, a tenth for a guess."""
    found = Training(8, "every", 0.1, 0, 2, 32, images(size=8)).run(None)
    assert found["test_accuracy"][-1] > 0.85
    assert found["train_accuracy"][1] > found["train_accuracy"][0] > 0.4


# ---- augmentation and accuracy ---------------------------------------------------------------------------------------


def versions(image):
    """Every shift by at most four pixels of an image and of its mirror image, zeros behind it: by copying pixels."""
    height, width = image.shape[1:]
    found = {}
    for mirrored in (False, True):
        for down in range(-4, 5):
            for right in range(-4, 5):
                shifted = np.zeros_like(image)
                for row in range(max(0, down), min(height, height + down)):
                    for column in range(max(0, right), min(width, width + right)):
                        source = column - right
                        shifted[:, row, column] = image[:, row - down, width - 1 - source if mirrored else source]
                found[shifted.tobytes()] = mirrored, down, right
    return found


def test_augmented_images_are_shifts_of_themselves_or_of_their_mirror_images():
    """All 162 come, about equally often: 3240 of one image, of no square, each 20 times within 5 deviations."""
    image = np.random.default_rng(0).standard_normal((2, 5, 7))
    known = versions(image)
    assert len(known) == 162
    x = torch.as_tensor(np.repeat(image[None], 3240, 0))
    found = augmented(x, np.random.default_rng(1)).numpy()
    counts = dict.fromkeys(known.values(), 0)
    for one in found:
        counts[known[one.tobytes()]] += 1
    assert min(counts.values()) > 0
    assert max(counts.values()) < 20 + 5 * np.sqrt(20)
    assert torch.equal(x, torch.as_tensor(np.repeat(image[None], 3240, 0)))


def test_each_image_of_a_batch_is_augmented_on_its_own_and_the_generator_decides():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((12, 3, 6, 6)))
    found = augmented(x, np.random.default_rng(1))
    moves = [versions(before.numpy())[after.numpy().tobytes()] for before, after in zip(x, found, strict=True)]
    assert len(set(moves)) > 6
    assert torch.equal(found, augmented(x, np.random.default_rng(1)))
    assert not torch.equal(found, augmented(x, np.random.default_rng(2)))
    assert augmented(x.float(), np.random.default_rng(1)).dtype == torch.float32


def test_training_images_are_augmented_if_asked(monkeypatch):
    plain, seen = FEW.training.take(slice(None)).astype(np.float32), spy(monkeypatch)
    for asked in (False, True):
        del seen[:]
        Training(8, "every", 0.05, 0, 1, 10, replace(FEW, augmented=asked)).run(None)
        same = [any(np.array_equal(one.numpy(), image) for image in plain) for _, x in seen for one in x]
        assert len(same) == 20
        assert sum(same) < 5 if asked else all(same)


def test_accuracy_is_the_share_of_largest_logits_in_evaluation_mode():
    """Of all 1437 digits, more than go through at once, with running statistics of a few steps."""
    module, data = drawn(8, "every", 0), digit_images(8)
    x, y = torch.as_tensor(data.take(slice(None)), dtype=torch.float32), torch.as_tensor(data.labels)
    optimizer = sgd(module, 0.05)
    for i in range(12):
        step(module, optimizer, x[32 * i : 32 * (i + 1)], y[32 * i : 32 * (i + 1)])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    found = accuracy(module, data, "cpu")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    module.eval()
    with torch.no_grad():
        logits = module(x).numpy()
    assert found == np.mean([int(np.argmax(row)) == label for row, label in zip(logits, data.labels, strict=True)])
    assert 0.2 < found < 1
