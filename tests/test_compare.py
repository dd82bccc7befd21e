import os

import pytest

from tfcount import commands, compare


def test_which_results():
    values = commands.FlagValues()
    compare.define_flags(values)
    with pytest.raises(ValueError, match="which results\\? Name two folders or more"):
        compare.main(["one"], values)


def test_nothing_is_written_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        lines = [f"image_{index},{index},{index + 1}.5" for index in range(3)]
        (tmp_path / name / "predictions.csv").write_text("\n".join(["image_id,ground_truth,predicted", *lines]))
    for picture in ([], ["--output=a.png"]):
        values = commands.FlagValues()
        compare.define_flags(values)
        compare.main(values(["compare", *picture, "one", "other"])[1:], values)
        assert "differences of |error| to one" in capsys.readouterr().out
        assert sorted(os.listdir()) == ["a.png"] * len(picture) + ["one", "other"]
