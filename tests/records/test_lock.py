import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tfcount.records import lock

HOLD = (
    "import sys, time; from tfcount.records import lock\n"
    "with lock.locked(sys.argv[1], 'testing'): print('held', flush=True); time.sleep(60)"
)


def held_by_another(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_holds_it_and_a_killed_one_gives_way(tmp_path, capsys):
    path = str(tmp_path / "made" / lock.NAME)
    process = held_by_another(path)
    with open(path) as file:
        holder = json.load(file)
    host = socket.gethostname()
    assert (holder["host"], holder["process"], holder["doing"]) == (host, process.pid, "testing")
    message = re.escape(f"{path} is held by process {process.pid} on {host}, testing since ") + r"20\d\d-.*Z\. Wait"
    with pytest.raises(BlockingIOError, match=message), lock.locked(path, "more"):
        pytest.fail("two hold it")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert os.listdir(tmp_path / "made") == [lock.NAME]
    with lock.locked(path, "more"):
        assert f"Took over {path}, left by process {process.pid} on {host}, testing since" in capsys.readouterr().err
    # The folder was there before this one came.
    assert os.listdir(tmp_path / "made") == []


def test_nothing_is_left_and_what_was_there_stays(tmp_path):
    for folder, rest in ((tmp_path / "a" / "b", []), (tmp_path, [])):
        with pytest.raises(KeyError), lock.locked(str(folder / lock.NAME), "testing"):
            raise KeyError
        assert os.listdir(tmp_path) == rest
    with lock.locked(str(tmp_path / "a" / lock.NAME), "testing"):
        (tmp_path / "a" / "result").touch()
    assert os.listdir(tmp_path / "a") == ["result"]


def test_the_second_may_wait(tmp_path, capsys):
    path = str(tmp_path / lock.NAME)
    with lock.locked(path, "testing"):
        waiting = threading.Thread(target=lambda: lock.locked(path, "more", patience=60).__enter__())
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert capsys.readouterr().err.count("Waiting for process") == 1


def test_never_two_at_once(tmp_path):
    """Each removes the file for which others wait."""
    path, inside, most = str(tmp_path / "made" / lock.NAME), [], []

    def work():
        for _ in range(30):
            with lock.locked(path, "testing", patience=60):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 120 and not os.path.exists(path)


@pytest.mark.parametrize("content", ["my own notes", '{"version": 3}', "[]"])
def test_a_file_of_somebody_is_left_alone(tmp_path, content):
    path = tmp_path / lock.NAME
    path.write_text(content)
    with pytest.raises(FileExistsError, match=r"tfcount.lock is in the way: it is not a lock of tfcount. Move it away"):
        lock.locked(str(path), "testing").__enter__()
    assert path.read_text() == content


def test_a_process_that_was_killed_before_it_wrote_who_it_is(tmp_path):
    path = tmp_path / lock.NAME
    path.touch()
    with lock.locked(str(path), "testing"):
        assert "testing" in path.read_text()
    assert not path.exists()


def test_a_folder_that_is_replaced_meanwhile(tmp_path):
    """As that of records is: who waited holds the lock of the new one."""
    folder, moved = tmp_path / "records", tmp_path / "moved"
    folder.mkdir()
    path, found = str(folder / lock.NAME), []

    def change():
        with lock.locked(path, "more", patience=60, in_place=True):
            found.append(os.listdir(folder))

    waiting = threading.Thread(target=change)
    with lock.locked(path, "testing", in_place=True):
        waiting.start()
        time.sleep(0.1)
        os.rename(folder, moved)
        time.sleep(0.1)
        assert not folder.exists()
        folder.mkdir()
        (folder / "new").touch()
    waiting.join(10)
    assert [sorted(names) for names in found] == [["new", lock.NAME]]
    assert os.listdir(folder) == ["new"] and os.listdir(moved) == [lock.NAME]
    with pytest.raises(FileNotFoundError):
        lock.locked(str(tmp_path / "none" / lock.NAME), "testing", in_place=True).__enter__()


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.locked(str(tmp_path / lock.NAME), "testing"):
        assert f"Warning: {tmp_path} knows no locks" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
