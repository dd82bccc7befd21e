import pytest
from absl import flags as absl_flags

from tfcount import flags
from tfcount.flagfiles import CommandLine, read_command_line, read_flagfile


@pytest.fixture
def values():
    values = absl_flags.FlagValues()
    flags.define(values)
    absl_flags.DEFINE_bool("resume", False, "", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], CommandLine([], [])),
        (["--seed=1", "a", "-counter", "mcnn", "--", "--seed=2"], (["--seed=1", "--counter=mcnn"], ["a", "--seed=2"])),
        (["--counter", "-h", "--resume", "b"], (["--counter=-h", "--resume"], ["b"])),
        (["--counter", "--flagfile=x"], (["--counter=--flagfile=x"], [])),
        (["--noresume", "-", "-h"], (["--noresume"], ["-"], "", "help")),
        (["--version"], ([], [], "", "version")),
        (["--", "-h", "--version"], ([], ["-h", "--version"])),
        (["--unknown", "x"], (["--unknown"], ["x"])),
        (["--counter="], (["--counter="], [])),
    ],
)
def test_command_lines(values, arguments, expected):
    assert read_command_line(arguments, values) == CommandLine(*expected)


def test_flags_that_are_given_count_wherever_they_stand(values, tmp_path):
    inner, outer = tmp_path / "inner.flags", tmp_path / "outer.flags"
    inner.write_text("# inner\n--counter=mcnn\n\n")
    outer.write_text(f"// outer\r\n--seed=1\r\n  --flagfile={inner}  \n--noresume\n")
    read = ["--seed=1", "--counter=mcnn", "--noresume"]
    for written in ([f"--flagfile={outer}"], ["-flagfile", str(outer)]):
        found = read_command_line(["--seed=0", *written, "--seed=2"], values)
        assert found == ([*read, "--seed=0", "--seed=2"], [], str(outer), "")
    # What several files share may be read twice.
    assert read_command_line([f"--flagfile={outer}", f"--flagfile={inner}"], values).flagfile == str(inner)
    with pytest.raises(ValueError, match="outer.flags, line 3: Unknown command line flag 'flagfile'"):
        read_flagfile(str(outer), values, nested=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"--seed=1\ntrain_steps 100\n", "a.flags, line 2: 'train_steps 100' is no flag; flags are written like"),
        (b"--seed=1\n--stepz=1\n", "a.flags, line 2: Unknown command line flag 'stepz'"),
        (b"--undefok=stepz\n--stepz=1\n", "a.flags, line 1: Unknown command line flag 'undefok'"),
        (b"--seed\n1\n", "a.flags, line 1: --seed needs a value: write --seed=VALUE"),
        (b"\xff\xfe-\x00", "a.flags' is not encoded as UTF-8"),
        (bytes(range(127)), "a.flags, line 1: .* is no flag"),
        (b"--counter=a\0b\n", "a.flags, line 1: .* is no flag"),
        (b"x" * 10_000, r"a.flags, line 1: 'x{60}...' is no flag"),
        (b"--flagfile=a.flags\n", "a.flags' names itself"),
        (b"--flagfile=other.flags\n", "There is no flagfile 'other.flags'"),
        (b"--flagfile=/dev/zero\n", "flagfile '/dev/zero' is no file"),
        (b"--flagfile=.\n", "flagfile '.' is no file"),
    ],
)
def test_what_is_no_flagfile(values, tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.flags").write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_flagfile("a.flags", values)
    assert len(str(error.value)) < 700
