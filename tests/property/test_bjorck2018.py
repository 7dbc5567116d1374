"""What the figures of Bjorck et al. (2018) show, at the reduced size, of the networks that need no training."""

import numpy as np
import pytest

from empirical.workers import workers
from figures import catalogue
from figures.bjorck2018 import condition_number, fig2, fig5, fig6, twin_spectrum
from figures.setting import Setting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of a figure at seed 0; the pass through ResNet-110 is made once."""
    folder = tmp_path_factory.mktemp("kept")
    with workers(2) as pool:
        yield lambda name: catalogue.entry(f"bjorck2018/{name}").table(Setting(kept=folder, pool=pool))


def test_counts_of_products_are_those_of_theorem_1(table):
    rows = table("fig7").rows
    for matrices, expected in ((1, (255, 255, 254)), (3, (2135, 825, 609)), (5, (3795, 887, 595))):
        mine = [row for row in rows if row[0] == matrices]
        np.testing.assert_allclose([row[3] for row in mine[:3]], expected, rtol=0.04)
        np.testing.assert_allclose([row[4] for row in mine[:3]], expected, atol=0.5)
        assert sum(row[3] for row in mine) == 10_000
        assert len(mine) == 50


def test_condition_numbers_are_within_three_standard_errors(table):
    found = table("condition-number")
    for width in condition_number.WIDTHS:
        _, _, mean, error, _, predicted = condition_number.summary(found, width).T
        assert np.all(np.abs(mean - predicted) < 3 * error + 0.15)


def test_gradients_have_heavy_tails_without_normalization(table):
    found = table("fig2")
    width = {bn: max(row[2] for row in found.rows if row[0] == bn) for bn in (True, False)}
    assert fig2.kurtosis(found, False) > 5
    assert width[False] > 10 * width[True]


def test_activations_grow_with_depth_without_normalization(table):
    found = table("fig5")
    assert len(found.rows) == 2 * 109
    assert fig5.growth(found, False) > 2
    assert abs(fig5.growth(found, True)) < 1.5


def test_one_class_takes_the_gradient_without_normalization(table):
    found = table("fig6")
    for bn in (True, False):
        assert np.abs(fig6.matrix(found, bn)).max() <= (1 + 1e-6) / 128
    assert fig6.share(fig6.matrix(found, False)) > 0.7 > fig6.share(fig6.matrix(found, True))


def test_gradients_add_up_without_normalization(table):
    for _, normalized, *_, ratio in table("table1").rows:
        assert (ratio > 8) == normalized


def test_large_steps_diverge_without_normalization(table):
    rows = table("fig3").rows
    for minibatch in range(3):
        assert max(row[3] for row in rows if not row[0] and row[1] == minibatch) > 1e3
    assert max(row[3] for row in rows if row[0] and row[2] <= 0.1) < 100


def test_the_noise_of_sgd_is_within_its_bound(table):
    assert all(measured <= bound for *_, measured, bound in table("sgd-noise").rows)


def test_theory_at_this_width_meets_the_twin_and_the_law_does_not(table):
    found = table("twin-spectrum")
    for normalized in (True, False):
        own, law = twin_spectrum.distance(found, normalized, 20)
        assert own < 0.03 < 0.08 < law
