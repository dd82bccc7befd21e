"""Kills commands at random moments, and starts two of each at once: `make abuse`, about 10 minutes on 2 cores.

Half of the kills (SIGKILL) come at any moment, and half while a command writes. After each, what was complete before
must be complete and equal; a few kills later the same command must end well, with the result that it has when nobody
kills it. Of two at once, both must end well, or one must say who holds the lock. Files of the user lie in and around
all outputs, and must be there at the end. Prints a table; the exit code is 1 if anything was found.

Example:
  python tests/abuse.py --kills=20 --seed=0 build train
"""

import argparse
import concurrent.futures
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import cv2
import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Kills in a row, until the command is left to end.
ROW = 4

# What a command may say that finds another one at work, or that its work is done.
HELD = re.compile(r"is held by process \d+ on \S+, .+ since \d{4}-")
DONE = re.compile(r"holds a run already|may hold answers|exists already")


@dataclasses.dataclass
class Row:
    """What was done to a command, and found."""

    name: str
    kills: int = 0
    at_work: int = 0
    ended: int = 0
    pairs: int = 0
    refused: int = 0
    found: list[str] = dataclasses.field(default_factory=list)

    def check(self, fine: bool, what: str) -> None:
        """Keeps what is wrong."""
        if not fine:
            self.found.append(what)


def names(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what lies below a folder, in which a command may be at work."""
    return [pathlib.Path(path, name) for path, folders, files in os.walk(folder) for name in folders + files]


def is_locked(folder: pathlib.Path) -> bool:
    """Returns whether there is a lock below a folder."""
    return any(path.name.endswith("tfcount.lock") for path in names(folder))


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below a folder."""
    files = sorted(path for path in names(folder) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def launch(arguments: list[str]) -> subprocess.Popen:
    """Starts a command."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen) -> tuple[int, str]:
    """Waits for a command; returns its exit code and what it said."""
    said = process.communicate()[1]
    return process.returncode, said


class Command:
    """A command that is abused: its arguments, the state before it, and what must hold after it.

    Args:
      home: folder of its own, in which it writes.
    """

    name = ""

    def __init__(self, home: pathlib.Path):
        self.home = home
        self.seconds = self.work = 0.0

    def arguments(self, number: int = 0) -> list[str]:
        """Returns the command line; of two at once, that of the one or the other."""
        raise NotImplementedError

    def begin(self) -> None:
        """Makes the state in which the command starts."""
        raise NotImplementedError

    def kept(self, row: Row) -> None:
        """Checks that nothing is lost when it was killed."""

    def result(self, row: Row, ends: list[str]) -> None:
        """Checks what is there when as many commands as `ends` ended well; these are the names of those that did."""
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """Returns the names of temporary files."""
        form = re.compile(r"tfcount-.*|.*tfcount\.(lock|temporary|writing)|\.tfcount-writing|.*\.partial|replaced")
        return [str(path.relative_to(self.home)) for path in names(self.home) if form.fullmatch(path.name)]

    def measure(self) -> None:
        """Runs it unharmed, and keeps how long it takes, and how long it writes."""
        self.begin()
        start, process = time.monotonic(), launch(self.arguments())
        first = self.wait_for_work(process)
        while process.poll() is None and is_locked(self.home):
            time.sleep(0.002)
        self.work = time.monotonic() - first
        code, said = end(process)
        if code:
            raise SystemExit(f"{self.name} fails unharmed:\n{said}")
        self.seconds = time.monotonic() - start

    def wait_for_work(self, process) -> float:
        """Waits until the command takes its lock; returns when."""
        while process.poll() is None and not is_locked(self.home):
            time.sleep(0.002)
        return time.monotonic()


def abuse(command: Command, kills: int, pairs: int, seed: int) -> Row:
    """Kills a command so many times, and then starts so many pairs of it."""
    row, rng = Row(command.name), random.Random(f"{command.name} {seed}")
    command.measure()
    foreign = plant(command.home)
    for number in range(kills):
        if number % ROW == 0:
            command.begin()
        kill(command, row, rng, at_work=number % 2 == 1)
        command.kept(row)
        if number % ROW == ROW - 1 or number == kills - 1:
            finish(command, row)
    for _ in range(pairs):
        command.begin()
        two_at_once(command, row)
    after = digests(command.home)
    lost = [name for name, digest in foreign.items() if after.get(name) != digest]
    row.check(not lost, f"files of the user are gone or changed: {lost}")
    return row


def plant(home: pathlib.Path) -> dict[str, str]:
    """Puts files of the user into and around the outputs; returns their digests by name."""
    names = ["thesis.txt", "out.lock", "out.replaced/thesis.txt", "out.writing", "notes/thesis.txt"]
    if (home / "run").is_dir():
        names += ["run/thesis.txt", "run/last.weights.h5.writing", "run/notes/evaluation.json"]
    if (home / "models").is_dir():
        names += ["models/thesis.txt", "models/.writing-2/thesis.txt", "models/notes/1/saved_model.pb"]
    for name in names:
        path = home / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"This is mine: {name}")
    return {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in names}


def kill(command: Command, row: Row, rng: random.Random, at_work: bool) -> None:
    """Starts a command and kills it at a random moment; of the whole time, or of that in which it writes."""
    process = launch(command.arguments())
    if at_work:
        command.wait_for_work(process)
        time.sleep(rng.uniform(0, command.work))
    else:
        time.sleep(rng.uniform(0, command.seconds))
    row.at_work += is_locked(command.home)
    process.kill()
    code, said = end(process)
    row.kills += 1
    row.check(code in (0, -9) or DONE.search(said) is not None, f"exit code {code}: {said[-500:]}")
    if code == 0:
        row.ended += 1
        command.result(row, ["0"])
        command.begin()


def finish(command: Command, row: Row) -> None:
    """Lets a command end, and checks its result."""
    code, said = end(launch(command.arguments()))
    row.check(code == 0 or DONE.search(said) is not None, f"after kills: exit code {code}: {said[-800:]}")
    row.check("Traceback" not in said, f"after kills: {said[-800:]}")
    command.result(row, ["0"])
    row.check(not command.leftovers(), f"left over: {command.leftovers()}")


def two_at_once(command: Command, row: Row) -> None:
    """Starts two, and checks that both ended well, or that one says who holds the lock."""
    processes = [launch(command.arguments(number)) for number in (0, 1)]
    ends = [end(process) for process in processes]
    row.pairs += 1
    row.refused += sum(code != 0 for code, _ in ends)
    for code, said in ends:
        refused = HELD.search(said) or DONE.search(said)
        row.check(code == 0 or bool(refused), f"two at once: exit code {code}: {said[-500:]}")
    row.check(any(code == 0 for code, _ in ends), "two at once: none ended well")
    command.result(row, [str(number) for number, (code, _) in enumerate(ends) if code == 0])
    row.check(not command.leftovers(), f"left over: {command.leftovers()}")


class Build(Command):
    """Replaces records of 6 pictures, with labels, by those of 9."""

    name = "build"

    def __init__(self, home: pathlib.Path):
        super().__init__(home)
        self.out, self.before = home / "out", home.parent / "build_before"
        for number in (6, 9):
            save_pictures(home.parent / f"pictures_{number}", number)
        run(self.build(6, self.before))
        answers = save_answers(home.parent / "build_answers.csv", [("0.png", "1.png")])
        run(["tfcount.select_labels", f"--data_dir={self.before}", f"--answers={answers}", f"--output={home}/q.csv"])
        run(self.build(9, self.reference))
        self.first, self.last = digests(self.before), digests(self.reference)
        (labels,) = (name for name in self.first if "-labels-" in name)
        self.labels = {labels: self.first[labels]}

    @property
    def reference(self):
        return self.home.parent / "build_reference"

    def build(self, number, output):
        pictures = self.home.parent / f"pictures_{number}"
        return ["tfrecords_tools.build", "--dataset=folder", f"--input={pictures}", f"--output={output}", "--overwrite"]

    def arguments(self, number=0):
        return self.build(9, self.out)

    def begin(self):
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.before, self.out)

    def kept(self, row):
        replaced = self.home / "out.partial" / "replaced"
        found = digests(self.out if self.out.exists() else replaced)
        whole = found.items() >= self.first.items() or self.is_new(found)
        row.check(whole, f"records are not whole: {sorted(found)}")

    def is_new(self, found):
        # The manifest also names the labels.
        new = {name: digest for name, digest in self.last.items() if name != "manifest.json"}
        return found.items() >= (new | self.labels).items()

    def result(self, row, ends):
        found = digests(self.out)
        row.check(self.is_new(found), f"records are not those of an unharmed build: {sorted(found)}")
        row.check({*found} == {*self.last, *self.labels}, f"records hold more: {sorted(found)}")


class Train(Command):
    """Trains anew; goes on with --resume where there is something to go on with."""

    name = "train"

    def __init__(self, home: pathlib.Path):
        super().__init__(home)
        self.run = home / "run"
        self.references: dict[int, dict] = {}
        self.run.mkdir()

    def train(self, seed, folder):
        return [
            *("tfcount.train", f"--data_dir={self.home.parent / 'records'}", f"--model_dir={folder}", f"--seed={seed}"),
            *("--counter=compact", "--data_crop=32", "--train_batch_size=2", "--train_steps=20", "--deterministic"),
            *("--train_validation_interval=4", "--data_validation_fraction=0.25", "--train_ema=0.9"),
        ]

    def arguments(self, number=0):
        return [*self.train(number, self.run), *(["--resume"] if (self.run / "run.flags").exists() else [])]

    def begin(self):
        for path in self.run.glob("*"):
            if path.name in ("thesis.txt", "last.weights.h5.writing", "notes"):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def kept(self, row):
        for name in ("best", "last"):
            path = self.run / f"{name}.weights.h5"
            if path.exists():
                try:
                    row.check(bool(weights(path)), f"{path} is empty")
                except OSError as error:
                    row.check(False, f"{path} is damaged: {error}")

    def reference(self, seed):
        if seed not in self.references:
            folder = self.home.parent / f"train_reference_{seed}"
            run(self.train(seed, folder))
            self.references[seed] = {name: weights(folder / f"{name}.weights.h5") for name in ("best", "last")}
        return self.references[seed]

    def result(self, row, ends):
        seed = 1 if "--seed=1" in (self.run / "run.flags").read_text().splitlines() else 0
        for name, expected in self.reference(seed).items():
            found = weights(self.run / f"{name}.weights.h5")
            equal = found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in found)
            row.check(equal, f"the {name} weights are not those of an unharmed run of seed {seed}")
        row.check(len(ends) == 1, f"{len(ends)} trainings ended well in one folder")


class Evaluate(Command):
    """Measures a run, whose evaluation is not there yet."""

    name = "evaluate"
    files = ("predictions.csv", "evaluation.json", "evaluation.png")

    def __init__(self, home: pathlib.Path):
        super().__init__(home)
        self.run = home / "run"
        shutil.copytree(home.parent / "trained", self.run)
        run(self.arguments())
        self.expected = self.found()

    def found(self):
        return {name: digest for name, digest in digests(self.run).items() if name in self.files}

    def arguments(self, number=0):
        return ["tfcount.evaluate", f"--model_dir={self.run}"]

    def begin(self):
        for name in self.files:
            (self.run / name).unlink(missing_ok=True)

    def kept(self, row):
        found = self.found()
        row.check(found.items() <= self.expected.items(), f"results are not whole: {found}, {self.expected}")

    def result(self, row, ends):
        row.check(self.found() == self.expected, f"results are not those of an unharmed evaluation: {self.found()}")


class SelectLabels(Command):
    """Adds two answers to records that hold one, and asks on; of two at once, each adds its own."""

    name = "select_labels"

    def __init__(self, home: pathlib.Path):
        super().__init__(home)
        self.records, self.before = home / "out", home.parent / "select_before"
        shutil.copytree(home.parent / "records", self.before)
        pairs = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
        names = [(f"train_{one:05}", f"train_{other:05}") for one, other in pairs]
        first = save_answers(home / "first.csv", names[:1])
        run(["tfcount.select_labels", f"--data_dir={self.before}", f"--answers={first}", f"--output={home}/q.csv"])
        self.answers = [save_answers(home / f"answers_{n}.csv", names[1 + 2 * n : 3 + 2 * n]) for n in (0, 1)]
        self.rest = {name: digest for name, digest in digests(self.before).items() if "-of-" in name}

    def arguments(self, number=0):
        answers, output = self.answers[number], self.home / f"questions_{number}.csv"
        return ["tfcount.select_labels", f"--data_dir={self.records}", f"--answers={answers}", f"--output={output}"]

    def begin(self):
        shutil.rmtree(self.records, ignore_errors=True)
        shutil.copytree(self.before, self.records)
        for path in self.home.glob("questions_*"):
            path.unlink()

    def number(self, row):
        """Returns how many labels there are, in a file that is whole."""
        stated = json.loads((self.records / "manifest.json").read_text())["splits"]["train"]["labels"]
        found = digests(self.records)
        row.check(found.get(stated["path"]) == stated["sha256"], "the file of labels is not whole")
        row.check(found.items() >= self.rest.items(), "the images changed")
        return stated["records"]

    def kept(self, row):
        row.check(self.number(row) in (1, 3), "answers are lost")

    def result(self, row, ends):
        row.check(self.number(row) == 1 + 2 * len(ends), f"{self.number(row)} labels of 1 and 2 of each of {ends}")
        for number in ends:
            with open(self.home / f"questions_{number}.csv", newline="") as file:
                row.check(len(list(csv.reader(file))) > 1, f"questions_{number}.csv is not whole")
        row.check(len([*self.records.glob("*-labels-*")]) == 1, "files of labels are left")


class Export(Command):
    """Adds a version to a folder that holds one."""

    name = "export"

    def __init__(self, home: pathlib.Path):
        super().__init__(home)
        self.models = home / "models"
        run(self.arguments())
        self.first = digests(self.models / "1")

    def arguments(self, number=0):
        return ["tfcount.export", f"--model_dir={self.home.parent / 'trained'}", f"--output={self.models}"]

    def versions(self):
        return sorted(path.name for path in self.models.iterdir() if path.name.isdigit())

    def begin(self):
        for name in self.versions():
            if name != "1":
                shutil.rmtree(self.models / name)
        self.number = 1

    def kept(self, row):
        row.check(digests(self.models / "1") == self.first, "the version of before is not whole")
        for name in self.versions():
            found = digests(self.models / name)
            # The graph names its parts anew each time; the weights, and what makes counts of its maps, are the same.
            same = all(found[path] == self.first[path] for path in found if "variables.data" in path or "json" in path)
            row.check({*found} == {*self.first} and same, f"version {name} is not whole: {sorted(found)}")

    def result(self, row, ends):
        self.kept(row)
        last = len(self.versions())
        row.check(last >= self.number + len(ends), f"versions {self.versions()} after {len(ends)} more")
        row.check(self.versions() == sorted(map(str, range(1, last + 1))), f"versions {self.versions()}")
        self.number = last


def save_pictures(folder: pathlib.Path, number: int) -> None:
    """Writes pictures of noise with a point each."""
    folder.mkdir()
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), pixels)
    lines = [f"{index}.png,{index + 1},5\n" for index in range(number)]
    (folder / "points.csv").write_text("image,x,y\n" + "".join(lines))


def save_answers(path: pathlib.Path, pairs: list[tuple[str, str]]) -> pathlib.Path:
    """Writes answers: of each pair, the first image shows more."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("image_a,image_b,relation\n" + "".join(f"{one},{other},greater\n" for one, other in pairs))
    return path


def weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file of weights."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def run(arguments: list[str]) -> None:
    """Runs a command that nobody harms."""
    code, said = end(launch(arguments))
    if code:
        raise SystemExit(f"{arguments}: exit code {code}\n{said}")


def tell(name: str, *values: object) -> None:
    """Prints a line of the table."""
    sys.stdout.write(f"{name:<15}" + "".join(f"{value:>9}" for value in values) + "\n")
    sys.stdout.flush()


COMMANDS = {command.name: command for command in (Train, Build, SelectLabels, Export, Evaluate)}


def main() -> int:
    """Abuses the commands, two at a time, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--pairs", type=int, default=3, help="of each command at once")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--jobs", type=int, default=2, help="commands that are abused at a time")
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), help=f"of {', '.join(COMMANDS)}")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
        root = pathlib.Path(folder)
        size = ["--train_images=12", "--test_images=4", "--height=64", "--width=80", "--max_people=20"]
        run(["tfrecords_tools.synthesize", f"--output={root / 'records'}", *size])
        if {"export", "evaluate"} & {*options.commands}:
            (root / "trainer").mkdir()
            run(Train(root / "trainer").train(0, root / "trained"))
        (root / "homes").mkdir()
        for shared in ("records", "trained"):
            (root / "homes" / shared).symlink_to(root / shared)

        def start(name):
            home = root / "homes" / name
            home.mkdir()
            return abuse(COMMANDS[name](home), options.kills, options.pairs, options.seed)

        columns = ("kills", "at work", "ended", "pairs", "refused", "found")
        tell("command", *columns)
        rows = []
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done in concurrent.futures.as_completed([pool.submit(start, name) for name in options.commands]):
                row = done.result()
                rows.append(row)
                tell(row.name, row.kills, row.at_work, row.ended, row.pairs, row.refused, len(row.found))
    found = [f"{row.name}: {what}" for row in rows for what in row.found]
    sys.stdout.write("\n".join([*found, f"{(time.monotonic() - begin) / 60:.1f} minutes"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
