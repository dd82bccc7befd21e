import json
import os
import signal
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.io

from tfrecords_tools.annotations import matlab, matlab_child

HOLDS = "UCF, which holds `annPoints`"
STUB = "import os, sys, time; os.write(1, b'R'); sys.stdin.buffer.read(1); "


def answer(reply):
    """Returns a program that gives a reply without points."""
    text = json.dumps(reply).encode()
    return f"os.write(1, {struct.pack('<Q', len(text)) + text!r})"


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "1_ann.mat")
    scipy.io.savemat(path, {"annPoints": np.float64([[1, 2], [3, 4], [5, 6]]), "words": "12", "number": 3})
    return path


@pytest.fixture
def replaced(monkeypatch, tmp_path):
    """A function that replaces what the process does, for as long as the test runs."""
    monkeypatch.setattr(matlab, "_children", [])

    def replace(program):
        (tmp_path / "child.py").write_text(program)
        script = types.SimpleNamespace(__file__=str(tmp_path / "child.py"), READY=matlab_child.READY)
        monkeypatch.setattr(matlab, "matlab_child", script)

    yield replace
    matlab._end_children()


def read(path, points=("annPoints",), count=()):
    return matlab.read_points(path, points, count, HOLDS)


def test_points_and_their_stated_number(path):
    points, number = read(path)
    np.testing.assert_array_equal(points, [[1, 2], [3, 4], [5, 6]])
    assert points.dtype == np.float64 and number is None
    assert read(path, count=["number"]).stated_count == 3
    assert read(path, count=["words"]).stated_count is None and read(path, count=["nothing"]).stated_count is None


# Bytes that kill the interpreter inside of SciPy 1.17.
@pytest.mark.parametrize(("place", "value"), [(172, 8), (192, 0)])
def test_a_byte_that_kills(tmp_path, place, value):
    path = tmp_path / "1_ann.mat"
    scipy.io.savemat(path, {"annPoints": np.float64([[1.5, 2.0], [24, 16], [-0.5, 3]])})
    content = bytearray(path.read_bytes())
    content[place] = value
    (tmp_path / "2_ann.mat").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"2_ann\.mat is not an annotation of UCF, which holds `annPoints`.*Copy it again"
    ):
        read(str(tmp_path / "2_ann.mat"))
    assert len(read(str(path)).points) == 3


def test_a_process_that_was_killed_between_two_files(path):
    read(path)
    os.kill(matlab._children[0]._process.pid, signal.SIGKILL)
    assert len(read(path).points) == 3


def test_ctrl_c_in_the_midst_of_a_file(path, monkeypatch):
    def interrupt(self, content, points, count):
        whole(self, content, points, count)
        raise KeyboardInterrupt

    read(path)
    whole = matlab._Child._exchange
    with monkeypatch.context() as patch:
        patch.setattr(matlab._Child, "_exchange", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read(path)
    assert not matlab._children and len(read(path).points) == 3


def test_the_process_is_of_another_session(path):
    """A terminal sends Ctrl-C to all processes of its session's foreground group."""
    read(path)
    assert os.getsid(matlab._children[0]._process.pid) != os.getsid(0)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (STUB + "os.kill(os.getpid(), 11)", "dies, or takes longer than 0.5 seconds"),
        (STUB + "time.sleep(60)", "dies, or takes longer than 0.5 seconds"),
        (STUB + "os.write(1, b'nonsense' * 99)", "dies, or takes longer"),
        (STUB + "os.write(1, (2).to_bytes(8, 'little') + b'{}')", "dies, or takes longer"),
        (STUB + answer({"shape": [99999], "count": None}), "dies, or takes longer"),
        (STUB + answer({"shape": [1000000000000000], "count": None}), "dies, or takes longer"),
        (STUB + answer({"shape": [-2, -2], "count": None}), "dies, or takes longer"),
        (STUB + answer({"shape": [0], "count": "two"}), "dies, or takes longer"),
        (STUB + answer({"shape": "text", "count": None}), "dies, or takes longer"),
    ],
)
def test_a_process_that_fails(path, replaced, monkeypatch, program, message):
    monkeypatch.setattr(matlab, "MOST_SECONDS", 0.5)
    replaced(program)
    with pytest.raises(ValueError, match=rf"1_ann\.mat is not an annotation of UCF.*{message}.*Copy it again"):
        read(path)
    assert not matlab._children


def test_a_process_that_does_not_start(path, replaced):
    replaced("raise SystemExit(1)")
    with pytest.raises(ChildProcessError, match=r"does not start: look what `.*child\.py` says"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annPoints": "words"}, "holds <U5 where numbers are expected"),
        ({"annPoints": np.array([[1 + 2j, 3]])}, "complex128"),
        ({"annPoints": np.array([[1, "a"], ["b", 2]], object)}, "object"),
        ({"annPoints": np.ones((4, 3))}, r"must be of shape \(n, 2\). Received: \(4, 3\). Copy it again"),
        ({"other": [1]}, "KeyError"),
    ],
)
def test_what_is_no_list_of_points(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=rf"a\.mat.*{message}"):
        read(str(tmp_path / "a.mat"))


def test_a_variable_that_is_there_twice(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"annPoints": [[1, 2], [3, 4]]})
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content + content[128:])
    with pytest.raises(ValueError, match=r"a\.mat is not an annotation .*Duplicate variable name"):
        read(str(tmp_path / "a.mat"))


def test_the_process_ends_with_its_parent_and_never_imports_tensorflow():
    program = (
        "import sys, runpy; runpy.run_path(sys.argv[1], run_name='__main__')\nsys.exit('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-P", "-c", program, matlab_child.__file__]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, matlab_child.READY)
