import dataclasses
import pathlib

import pytest

from tests.running import small_config
from tfcount import assembly
from tfcount.config import EncoderConfig

ROOT = pathlib.Path(__file__).parent.parent


def test_encoder_weights_for_a_counter_without_encoder(crowds):
    wrong = dataclasses.replace(small_config(crowds), encoder=EncoderConfig(weights="file.h5"))
    with pytest.raises(ValueError, match="--encoder_weights=file.h5: counter 'mcnn' has no encoder"):
        assembly.build_counter(wrong)
