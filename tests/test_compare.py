import pytest

from tfcount import commands, compare


def test_which_results():
    values = commands.FlagValues()
    compare.define_flags(values)
    with pytest.raises(ValueError, match="which results\\? Name two folders or more"):
        compare.main(["one"], values)
