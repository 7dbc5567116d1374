"""The command rmt figures: every name, the columns of its CSV, resuming, and bad input."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import rmt as rmt_package
from empirical import kept
from empirical.labelled import images
from empirical.study import Products, load
from figures import catalogue, initial, style
from figures.bjorck2018 import (
    batch_growth,
    condition_number,
    fig1,
    fig3,
    fig7,
    last_layer_norm,
    max_learning_rate,
    resnet_spectrum,
    sgd_noise,
    twin_condition_number,
    twin_spectrum,
)
from figures.cli import cli
from figures.setting import Setting
from figures.titles import fit
from figures.twin import twin

COLUMNS = {
    "fig1": "batch_norm learning_rate seed epoch train_accuracy test_accuracy",
    "fig2": "batch_norm bin_left bin_right count",
    "fig3": "batch_norm minibatch step relative_loss",
    "fig4": "layer fraction_of_step channel statistic value",
    "fig5": "batch_norm layer log_abs_mean log_abs_mean_sd log_std log_std_sd",
    "fig6": "batch_norm input class gradient",
    "table1": "layer batch_norm sum_of_abs abs_of_sum ratio",
    "fig7": "matrices bin_left bin_right count predicted",
    "fig8": "matrices x density",
    "condition-number": "matrices width draw log_condition_number predicted",
    "last-layer-norm": "variant learning_rate seed epoch test_accuracy",
    "max-learning-rate": "depth batch_norm seed learning_rate predicted",
    "sgd-noise": "learning_rate batch_size measured bound",
}


def rmt(*arguments):
    return CliRunner().invoke(cli, ["figures", *map(str, arguments)])


def content(path):
    with open(path) as file:
        return [*csv.DictReader(file)]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """All figures on networks of eight layers and 8 x 8 pixels, a few steps each; computed here, kept in a folder."""
    monkeypatch.setattr(initial, "DEPTH", 8)
    monkeypatch.setattr(initial, "SIZE", 8)
    monkeypatch.setattr(initial, "BATCH", 16)
    monkeypatch.setattr(initial, "SAMPLED", (2, 4, 6))
    monkeypatch.setattr(fig3, "STEPS", (1e-4, 1e-2, 1e6))
    monkeypatch.setattr(fig7, "_study", lambda setting: Products((1, 3), 20, 2, 5, setting.seed))
    monkeypatch.setattr(condition_number, "WIDTHS", (4, 5))
    monkeypatch.setattr(condition_number, "_draws", lambda setting: 3)
    run = fig1.run
    monkeypatch.setattr(fig1, "run", lambda setting, norm, rate, seed: kept_small(run(setting, norm, rate, seed)))
    monkeypatch.setattr(fig1, "seeds", lambda setting: range(setting.seed, setting.seed + 2))
    monkeypatch.setattr(fig1, "RATES", (0.1, 1e6))
    monkeypatch.setattr(last_layer_norm, "RATES", (0.1, 1e6))
    monkeypatch.setattr(max_learning_rate, "_depths", lambda setting: (8,))
    monkeypatch.setattr(max_learning_rate, "GRID", (1e6, 1.0))
    job = max_learning_rate._job
    monkeypatch.setattr(max_learning_rate, "_job", lambda *a: small(job(*a), steps=3, batch=4))
    noise = sgd_noise._job
    monkeypatch.setattr(sgd_noise, "_job", lambda setting: small(noise(setting), count=32, batch_sizes=(1, 4, 16)))
    monkeypatch.setattr(sgd_noise, "SIZES", (4, 16))
    monkeypatch.setattr(resnet_spectrum, "_plan", lambda setting: ((8,), 1))
    monkeypatch.setattr(twin_spectrum, "DEPTHS", (2, 3))
    monkeypatch.setattr(twin_spectrum, "_WIDTH", 12)
    monkeypatch.setattr(twin_spectrum, "_draws", lambda setting: 2)
    monkeypatch.setattr(twin_condition_number, "DEPTHS", (2, 3))
    monkeypatch.setattr(twin_condition_number, "twin", lambda depth, normalized: twin(depth, normalized, 12))
    monkeypatch.setattr(twin_condition_number, "_draws", lambda setting: 2)
    monkeypatch.setattr(batch_growth, "WIDTH", 16)
    return Setting(seed=3, kept=tmp_path / "kept")


def small(job, **changes):
    return replace(job, images=images(size=8), **changes)


def kept_small(job):
    return small(job, depth=8, epochs=1, batch=700)


REAL = {name: getattr(initial, name) for name in ("DEPTH", "SIZE", "BATCH")}


def check_titles(figure):
    """Titles, legends of the figure and axes with their labels are inside the picture, and titles meet nothing."""
    figure.draw_without_rendering()
    titles = [ax.title for ax in figure.axes if ax.get_title()] + [text for text in figure.texts if text.get_text()]
    for text in (*titles, *figure.legends):
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    boxes = [text.get_window_extent() for text in titles]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    for text, box in zip(titles, boxes, strict=True):
        inner = [ax.get_window_extent() for ax in figure.axes]
        assert not any(box.overlaps(own) for own in inner), text


@pytest.mark.parametrize("name", [name for name in catalogue.names() if name.startswith("bjorck2018/")])
def test_a_figure_is_a_picture_a_table_and_a_sentence(name, tiny, tmp_path):
    made = catalogue.make(name, tiny, tmp_path)
    rows = content(tmp_path / f"{name}.csv")
    assert len(rows) == len(made.table.rows) > 0
    if name.removeprefix("bjorck2018/") in COLUMNS:
        assert " ".join(rows[0]) == COLUMNS[name.removeprefix("bjorck2018/")]
    assert all(cell != "nan" for row in rows for cell in row.values())
    assert {row["batch_norm"] for row in rows if "batch_norm" in row} <= {"True", "False"}
    assert (tmp_path / f"{name}.svg").read_text().count("<svg") == 1
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "nan" not in made.reading
    assert made.entry.title
    assert made.entry.paper
    files = [tmp_path / f"{name}{suffix}" for suffix in (".csv", ".svg", ".png")]
    before = [file.read_bytes() for file in files]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "_answer", lambda job, folder: pytest.fail("computed again"))
        patch.setattr("empirical.schedule.run", lambda payload: pytest.fail("measured again"))
        catalogue.make(name, tiny, tmp_path)
    assert [file.read_bytes() for file in files] == before
    with pytest.MonkeyPatch.context() as patch:  # titles as long as they come
        for key, value in REAL.items():
            patch.setattr(initial, key, value)
        for seed in (3, 10**14):
            figure = fit(made.entry.draw(made.table, replace(tiny, seed=seed)))
            check_titles(figure)
            texts = [ax.title.get_text() for ax in figure.axes], figure.subplotpars.top
            assert ([ax.title.get_text() for ax in fit(figure).axes], figure.subplotpars.top) == texts


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in catalogue.names() if name.startswith("gallery/")])
def test_titles_of_the_gallery_are_inside(name):
    entry = catalogue.entry(name)
    table = entry.table(Setting())
    for seed in (0, 10**14):
        check_titles(fit(entry.draw(table, Setting(seed=seed))))


@pytest.mark.parametrize("law", [rmt_package.MarchenkoPastur(0.5) * rmt_package.MarchenkoPastur(2) ** 3,
                                 rmt_package.Bernoulli(0.5) * rmt_package.FussCatalan(3)], ids=str)
def test_the_title_of_a_law_is_inside_a_narrow_picture(law):
    figure = style.figure(2.5, 3)
    ax = figure.add_axes((0.2, 0.15, 0.7, 0.55))
    law.plot(ax)
    check_titles(figure)
    assert "\n" in ax.get_title()


@pytest.mark.parametrize("rows", [1, 2])
def test_long_titles_find_their_room(rows):
    figure = style.figure(4, 3)
    for ax in figure.subplots(rows, 2).ravel():
        ax.set_title("a title of many words that has no room over axes as narrow as these are", fontsize=8)
        ax.set_xlabel("x")
    figure.suptitle("over all of them a title that is longer than the picture is wide, and more so: " * 2)
    figure.legend(handles=figure.axes[0].plot([0, 1], label="a line"), loc="upper center", bbox_to_anchor=(0.5, 0.95))
    with pytest.raises(AssertionError):
        check_titles(figure)
    check_titles(fit(figure))
    alone = style.figure(3, 3)
    alone.add_subplot().set_title("w" * 200)
    check_titles(fit(alone))


def test_the_seed_decides(tiny, tmp_path):
    other = replace(tiny, seed=4)
    for name in ("fig2", "fig6", "table1", "condition-number"):
        entry = catalogue.entry(f"bjorck2018/{name}")
        assert entry.table(tiny) == entry.table(replace(tiny, kept=None))
        assert entry.table(tiny) != entry.table(other)


def test_counts_are_of_everything(tiny):
    def total(name, key="count"):
        return sum(catalogue.entry(f"bjorck2018/{name}").table(tiny).column(key))

    assert total("fig7") == 2 * 2 * 20
    assert total("fig7", "predicted") == pytest.approx(2 * 2 * 20, rel=1e-12)
    assert total("fig2") == 2 * 32 * 16 * 9  # the middle one of seven kernels: the first of the second stage
    spectrum = catalogue.entry("bjorck2018/twin-spectrum").table(tiny)
    assert sum(spectrum.column("predicted")) == pytest.approx(sum(spectrum.column("count")), rel=1e-9)
    assert sum(spectrum.column("law")) == pytest.approx(sum(spectrum.column("count")), rel=1e-9)


def test_the_gradient_at_the_outputs_sums_to_nothing(tiny):
    table = catalogue.entry("bjorck2018/fig6").table(tiny)
    gradient = np.array(table.column("gradient")).reshape(2, 16, 10)
    np.testing.assert_allclose(gradient.sum(2), 0, atol=1e-7)
    assert np.abs(gradient).max() <= (1 + 1e-6) / 16
    assert np.all((gradient < 0).sum(2) <= 1)


def test_the_law_of_figure_8_is_exact(tiny):
    rows = catalogue.entry("bjorck2018/fig8").table(tiny).rows
    x, density = np.array([row[1:] for row in rows if row[0] == 1]).T
    np.testing.assert_allclose(density, np.sqrt((4 - x) / x) / (2 * np.pi), rtol=1e-9)
    assert {row[0] for row in rows} >= {1, 2, 3, 5}


def test_a_network_that_leaves_the_floats_has_an_infinite_loss(tiny):
    rows = catalogue.entry("bjorck2018/fig3").table(tiny).rows
    assert [row[3] for row in rows if not row[0] and row[2] == 1e6] == [float("inf")] * fig3.MINIBATCHES


def test_the_names_are_listed():
    shown = rmt("list")
    assert shown.exit_code == 0
    for name in COLUMNS:
        assert f"bjorck2018/{name} " in shown.stdout
    gallery = [entry for entry in json.loads(rmt("list", "--json").stdout) if entry["name"].startswith("gallery/")]
    assert len(gallery) >= 8
    assert all(entry["title"] for entry in gallery)


def test_one_figure_by_the_command(tmp_path):
    done = rmt("bjorck2018/fig8", "--out", tmp_path, "--json")
    assert done.exit_code == 0
    assert {path.name for path in (tmp_path / "bjorck2018").iterdir()} == {"fig8.svg", "fig8.png", "fig8.csv"}
    said = json.loads(done.stdout)
    assert "grows" in said["reading"]
    assert [[str(cell) for cell in row.values()] for row in said["rows"]] == [
        [*row.values()] for row in content(tmp_path / "bjorck2018" / "fig8.csv")]


@pytest.mark.parametrize(("arguments", "says"), [
    (("bjorck2018/fig9",), ("did you mean 'bjorck2018/fig",)), (("fig1x",), ("figure 'fig1x'",)),
    (("bjorck2018/fig8", "--size", "huge"), ("size 'huge'",)), (("bjorck2018/fig8", "--seed", "-1"), ("seed", ">= 0")),
    (("bjorck2018/fig8", "--device", "gpu9"), ("gpu9",)), (("bjorck2018/fig2", "--size", "paper"), ("--data",)),
    (("bjorck2018/fig1", "--size", "paper", "--data", "/nowhere"), ("/nowhere",)),
])
def test_bad_input_is_one_line(arguments, says, tmp_path):
    result = rmt(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("rmt: ")
    assert result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in says)
    assert not [*tmp_path.rglob("*.csv")]


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "make", interrupted)
    result = rmt("bjorck2018/fig8", "--out", tmp_path)
    assert result.exit_code == 3
    assert "the same command goes on" in result.stderr


def test_at_the_size_of_the_paper_images_are_those_of_the_folder(tiny, tmp_path, cifar_folder):
    paper = replace(tiny, size="paper", data=str(cifar_folder))
    table = catalogue.entry("bjorck2018/fig6").table(paper)
    assert len(table.rows) == 2 * 16 * 10
    assert table != catalogue.entry("bjorck2018/fig6").table(tiny)
    assert "CIFAR-10" in initial.about(paper)
    assert paper.images().augmented
    with pytest.raises(ValueError, match="--data"):
        replace(paper, data=None).images()


STUDY = """
title = "Mine"
[[sections]]
title = "Laws"
text = "One.\\n\\nTwo."
figures = ["bjorck2018/fig8"]
"""


def test_a_study_of_figures_is_a_page(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    for part in ("<h2>Laws</h2>", "<p>One.</p>", "<p>Two.</p>", "<svg", 'href="bjorck2018/fig8.csv"', "The paper:"):
        assert part in page
    assert (tmp_path / "out" / "bjorck2018" / "fig8.csv").exists()
    assert not (tmp_path / "out" / "summary.csv").exists()
    assert "bjorck2018/fig8" in done.stdout


@pytest.mark.parametrize(("content", "says"), [
    ('[[sections]]\nfigures = ["bjorck2018/fig99"]', "did you mean"), ("[[sections]]\nfigures = 3", "list of names"),
    ('size = "large"\n[[sections]]\ntitle = "a"', "size 'large'"), ("[[sections]]\nfigure = []", "figures"),
    ("sections = 3", "[[sections]]"), ("[[sections]]\ntext = 3", "text must be a text"),
])
def test_a_broken_section_is_one_line(content, says, tmp_path):
    (tmp_path / "study.toml").write_text(content)
    result = CliRunner().invoke(cli, ["report", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_study_of_the_repository_names_every_figure_of_the_paper():
    study = load(Path(__file__).parents[2] / "studies" / "bjorck2018.toml")
    assert sorted(study.figures) == sorted(name for name in catalogue.names() if name.startswith("bjorck2018/"))
