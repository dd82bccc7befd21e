"""Tests of losses."""

import pytest

# What it asserts is shown in full when it fails.
pytest.register_assert_rewrite("tests.losses.generalized_loss")
