import dataclasses
import pathlib
import types

import pytest
from absl import flags as absl_flags

from tfcount import flags
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.config import DensityConfig
from tfcount.methods import METHODS

ROOT = pathlib.Path(__file__).parent.parent
FLAGFILES = sorted(ROOT.glob("configs/**/*.flags"))


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.name)
def test_every_flagfile_builds_a_config(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = flags.from_file(str(path.relative_to(ROOT)))
    assert config.data.dir.startswith("data/")
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.name)
def test_run_flags_give_an_equal_config(path, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    config = flags.from_file(str(path.relative_to(ROOT)))
    copy = tmp_path / "run.flags"
    copy.write_text("\n".join(flags.to_lines(config)))
    assert flags.from_file(str(copy)) == config


def test_run_flags_of_values_that_need_care(tmp_path):
    config = ExperimentConfig(
        counter="mcnn",
        seed=7,
        density=DensityConfig(kernel="adaptive"),
        encoder=EncoderConfig(weights="a folder/ümlaut.h5"),
        train=TrainConfig(learning_rate=1e-7, ema=0.0),
    )
    path = tmp_path / "run.flags"
    path.write_text("\n".join(flags.to_lines(config)), encoding="utf-8")
    assert flags.from_file(str(path)) == config
    assert "--seed=7" in flags.to_lines(config) and not any("steps" in line for line in flags.to_lines(config))


def test_flags_reach_the_loss(tmp_path):
    path = tmp_path / "loss.flags"
    path.write_text("--density_loss=unbalanced_ot\n--unbalanced_ot_epsilon=0.02\n--nounbalanced_ot_shifted")
    config = flags.from_file(str(path))
    loss = config.density_loss(4)
    assert (loss.stride, loss.epsilon, loss.shifted, loss.tau) == (4, 0.02, False, 0.5)
    path.write_text("\n".join(flags.to_lines(config)))
    assert flags.from_file(str(path)) == config
    with pytest.raises(ValueError, match="`loss_options` must be those of 'bayesian'"):
        dataclasses.replace(config, density=DensityConfig(loss="bayesian"))


def test_every_flag_has_a_help_text():
    assert flags.config_flags() == list(flags.from_dataclasses()), "call `python -m tfcount.flags`"
    values = absl_flags.FlagValues()
    flags.define(values)
    assert "--train_learning_rate" in {f"--{name}" for name in values}
    assert values["train_learning_rate"].help == "Its highest value."
    assert values["density_kernel"].help.endswith("One of adaptive, fixed.")


@pytest.mark.parametrize(
    "line, message",
    [
        ("--train_stepz=3", "Unknown command line flag 'train_stepz'"),
        ("--train_steps=many", "flag --train_steps=many"),
        ("--train_steps=0", "--train_steps must be at least 1. Received: 0"),
        ("--train_ema=1", "--train_ema must be at least 0 and below 1. Received: 1.0"),
        ("--counter=csrnett", "--counter must be one of .* Received: 'csrnett'"),
        ("--method=none", "--method must be one of .* Received: 'none'"),
        ("--density_loss=l1", "--density_loss must be one of .* Received: 'l1'"),
        ("--density_kernel=wide", "--density_kernel must be one of .* Received: 'wide'"),
        ("--seed=-1", "--seed must be at least 0 and below 2 .* Received: -1"),
        ("--density_sigma=0", "--density_sigma must be positive"),
        ("--bayesian_sigma=4", "--bayesian_sigma is a flag of --density_loss=bayesian, and --density_loss is 'l2'"),
        ("--density_loss=bayesian\n--bayesian_sigma=0", "--bayesian_sigma must be positive. Received: sigma=0.0"),
        ("--density_loss=unbalanced_ot\n--unbalanced_ot_cost=l1", "--unbalanced_ot_cost must be one of .* cost='l1'"),
        ("--train_learning_rate=nan", "--train_learning_rate must be at least 0. Received: nan"),
    ],
)
def test_wrong_flags(line, message, tmp_path):
    path = tmp_path / "wrong.flags"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        flags.from_file(str(path))


def test_a_flag_of_another_method(tmp_path, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Config:
        """Made up.

        Attributes:
          margin: of something.
        """

        margin: float = 0.0

    monkeypatch.setitem(METHODS, "other", types.SimpleNamespace(Config=Config))
    (tmp_path / "right.flags").write_text("--seed=1")
    with pytest.raises(
        ValueError, match="flags.json lacks --other_margin: write it anew with `python -m tfcount.flags`"
    ):
        flags.from_file(str(tmp_path / "right.flags"))
    monkeypatch.setattr(flags, "config_flags", lambda: list(flags.from_dataclasses()))
    path = tmp_path / "wrong.flags"
    path.write_text("--other_margin=1")
    with pytest.raises(ValueError, match="--other_margin is a flag of --method=other, and --method is 'supervised'"):
        flags.from_file(str(path))
    path.write_text("--other_margin=1\n--method=other")
    assert flags.from_file(str(path)).options == Config(margin=1.0)
