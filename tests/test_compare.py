import pytest

from tfcount import compare


def test_which_results():
    with pytest.raises(ValueError, match="which results\\? Name two folders or more"):
        compare.main(["compare", "one"])
