import dataclasses
import pathlib

import pytest

from tests.running import small_config
from tfcount import assembly, flags
from tfcount.config import EncoderConfig, TrainConfig

ROOT = pathlib.Path(__file__).parent.parent


def test_encoder_weights_for_a_counter_without_encoder(crowds):
    wrong = dataclasses.replace(small_config(crowds), encoder=EncoderConfig(weights="file.h5"))
    with pytest.raises(ValueError, match="--encoder_weights=file.h5: counter 'mcnn' has no encoder"):
        assembly.build_counter(wrong)


def test_short_runs_average_over_less():
    """After 450 steps the first weights would have a share of 0.64."""
    for steps, ema in ((1, 0.999), (30, 0.98), (450, 0.999), (2000, 0.999)):
        momentum = assembly.build_optimizer(TrainConfig(steps=steps, ema=ema)).ema_momentum
        assert momentum**steps == pytest.approx(assembly.FIRST_SHARE)
    for steps, ema in ((450, 0.98), (3400, 0.999), (100_000, 0.999)):
        assert assembly.build_optimizer(TrainConfig(steps=steps, ema=ema)).ema_momentum == ema
    assert not assembly.build_optimizer(TrainConfig(steps=10, ema=0.0)).use_ema


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/studies/**/run.flags")), ids=str)
def test_kept_results_averaged_as_their_flags_say(path):
    train = flags.from_file(str(path)).train
    assert train.ema == 0 or assembly.build_optimizer(train).ema_momentum == train.ema
