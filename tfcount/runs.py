"""The folder of a run: what it holds, how it is written and read."""

import contextlib
import errno
import logging
import logging.handlers
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfcount import assembly, checkpoints, distribution, errors, flags
from tfcount.config import ExperimentConfig
from tfcount.inference import Calibration, CountingModel
from tfcount.models.counter import Counter
from tfcount.records import checksums, lock, outputs
from tfcount.records.files import replacing, write_file

FLAGS = "run.flags"
LOG = "train.log"
NOTES = "run.json"
LABELS = "labels.json"
BEST = "best.weights.h5"
LAST = "last.weights.h5"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
FEATURES = "features"

# Of the files of a run; grows when a run of before can no longer be read.
FORMAT = 2

_REMEDY = "Restore it from a copy, or train again."

logger = logging.getLogger("tfcount")


class Run:
    """A run: the folder that training writes and everything else reads.

    It holds `run.flags`, `train.log`, `run.json` (the notes: versions, hardware, minutes, validations), `labels.json`
    (what was used of the annotation), `best.weights.h5` (lowest MAE on the held-out images) and `last.weights.h5`, each
    with its `*.calibration.json`, which also holds the SHA-256 of the weights, `checkpoints/` and `tensorboard/`. JSON
    files hold their own SHA-256. Those of runs of before, which have none, are read without the check.

    Args:
      folder: where it lies, or is going to lie.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._network: dict[str, Any] | None = None

    def path(self, name: str) -> str:
        """Returns the path of a file of the run."""
        return os.path.join(self.folder, name)

    def exists(self) -> bool:
        """Returns whether the folder holds a run, or what is left of one."""
        return os.path.exists(self.path(FLAGS)) or os.path.exists(self.path(CHECKPOINTS))

    def config(self) -> ExperimentConfig:
        """Reads the config.

        Raises:
          FileNotFoundError: if the folder holds no run.
          ValueError: if the file of flags is damaged.
        """
        if not os.path.isfile(self.path(FLAGS)):
            raise FileNotFoundError(
                f"{self.folder!r} holds no run: {self.path(FLAGS)} does not exist. Train with "
                f"--model_dir={self.folder}."
            )
        # It is what training wrote: it names no other file of flags.
        config = flags.from_file(self.path(FLAGS), nested=False)
        if not os.path.getsize(self.path(FLAGS)):
            raise ValueError(f"{self.path(FLAGS)} is empty. {_REMEDY}")
        return config

    def notes(self) -> dict[str, Any]:
        """Reads seed, commit, versions, hardware, minutes of training, validations.

        Raises:
          FileNotFoundError: if there are no notes.
          ValueError: if they are damaged, or those of another run, or of an earlier version of tfcount.
        """
        notes = checksums.read_sealed(self.path(NOTES), _REMEDY)
        if notes.get("format") != FORMAT:
            raise ValueError(
                f"The run in {self.folder!r} was made by another version of tfcount: train again with the same flags "
                f"and another --model_dir. Its weights can be the start: --initial_weights={self.folder}."
            )
        if not _are_notes(notes):
            raise ValueError(f"{self.path(NOTES)} is damaged (a value is missing, or of another kind). {_REMEDY}")
        stated = notes.pop("flags_sha256", None)
        if stated not in (None, checksums.sha256(self.path(FLAGS))):
            raise ValueError(f"{self.path(NOTES)} and {self.path(FLAGS)} are not of one run. {_REMEDY}")
        return notes

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one training at a time write the run.

        Raises:
          BlockingIOError: if another process trains there; the message names it.
        """
        with lock.locked(self.path(lock.NAME), f"training in {self.folder!r}"):
            for name in (BEST, LAST):
                for path in (self.path(name), _calibration_path(self.path(name))):
                    # What a process was writing when it was killed.
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(_temporary_path(path))
            yield

    def check_folder(self) -> None:
        """Raises OSError or ValueError, which name `--model_dir`, if a run cannot be written to the folder."""
        outputs.check_folder("model_dir", self.folder)

    def check_free(self) -> None:
        """Raises FileExistsError if the folder holds a run already, or files that a run would write over."""
        if self.exists():
            raise FileExistsError(
                f"{self.folder!r} holds a run already: add --resume to go on with it, or choose another --model_dir."
            )
        weights = (self.path(BEST), self.path(LAST))
        ours = (self.path(NOTES), self.path(LABELS), *weights, *map(_calibration_path, weights))
        for path in filter(os.path.lexists, ours):
            raise FileExistsError(f"{path} would be written over: move it away, or choose another --model_dir.")

    def check_same(self, config: ExperimentConfig, fingerprint: str) -> None:
        """Checks that a run can go on.

        Args:
          config: with which it shall go on.
          fingerprint: of the records with which it shall go on.

        Raises:
          FileNotFoundError: if the folder holds no run.
          ValueError: if the run was started with other flags or records.
        """
        if not os.path.isfile(self.path(FLAGS)):
            raise FileNotFoundError(f"--resume: {self.folder!r} holds no run ({self.path(FLAGS)} does not exist).")
        kept = self.config()
        if kept != config:
            ours, theirs = set(flags.to_lines(config)), set(flags.to_lines(kept))
            raise ValueError(
                f"--resume: {self.path(FLAGS)} has other flags: there {sorted(theirs - ours)}, "
                f"here {sorted(ours - theirs)}."
            )
        if os.path.isfile(self.path(NOTES)) and self.notes()["records"] != fingerprint:
            raise ValueError(
                f"--resume: the records in {config.data.dir!r} are not those that the run in {self.folder!r} was "
                "started with: build them again as they were, or start in another --model_dir."
            )

    def write_start(self, config: ExperimentConfig, label_cost: dict, notes: dict) -> None:
        """Writes what is known before the first step: flags, labels and notes."""
        with self.writing():
            write_file(self.path(FLAGS), "".join(f"{line}\n" for line in flags.to_lines(config)))
            checksums.write_sealed(self.path(LABELS), label_cost)
            self.write_notes(notes)
        self._network = _network(config)

    def write_notes(self, notes: dict) -> None:
        """Writes the notes, in place of those of before."""
        checksums.write_sealed(self.path(NOTES), {**notes, "flags_sha256": checksums.sha256(self.path(FLAGS))})

    def label_cost(self) -> dict | None:
        """Reads how much annotation the run used; None if the folder does not tell."""
        if not os.path.isfile(self.path(LABELS)):
            return None
        return checksums.read_sealed(self.path(LABELS), _REMEDY)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Says what to do where the files of the run cannot be written: the disk is full, or it is somebody else's.

        Raises:
          OSError: in place of what TensorFlow and HDF5 raise.
        """
        try:
            yield
        except tf.errors.InvalidArgumentError:
            # Not of writing, but of what was to be written.
            raise
        except (OSError, tf.errors.OpError) as error:
            told = "What was saved before is whole; make room, then go on with --resume."
            raise errors.not_written(self.folder, error, told) from error

    def check_space(self, variables) -> None:
        """Raises OSError if there is less room than variables take: HDF5 ends the process where it runs out of it."""
        size = int(1.1 * sum(np.prod(variable.shape) * 4 for variable in variables))
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise OSError(errno.ENOSPC, f"{size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")

    def save_weights(self, name: str, counter: Counter, calibration: Calibration) -> None:
        """Writes the weights `BEST` or `LAST` of a counter, and their calibration; both move into place when complete.

        Raises:
          OSError: if they cannot be written.
        """
        path = self.path(name)
        calibrated = _calibration_path(path)
        with (
            self.writing(),
            replacing(calibrated, _temporary_path(calibrated)) as beside,
            replacing(path, _temporary_path(path)) as temporary,
        ):
            self.check_space(counter.variables)
            counter.save_weights(temporary)
            _write_calibration(beside, calibration, checksums.sha256(temporary), self._network)
            # A process that is killed between the two moves leaves weights without a calibration, which are refused,
            # and not with that of others, by which they would count.
            with contextlib.suppress(FileNotFoundError):
                os.remove(calibrated)

    def save_checkpoint(self, checkpoint: tf.train.Checkpoint, step: int) -> None:
        """Writes a checkpoint, see `checkpoints.save`; raises OSError if it cannot be written."""
        with self.writing():
            checkpoints.save(self.path(CHECKPOINTS), checkpoint, step)

    def holds(self, name: str) -> bool:
        """Returns whether there are the weights `BEST` or `LAST` with their calibration."""
        path = self.path(name)
        return os.path.isfile(path) and os.path.isfile(_calibration_path(path))

    def calibration(self, name: str) -> Calibration | None:
        """Reads the calibration of the weights `BEST` or `LAST`; None if there is none yet.

        Raises:
          ValueError: if it is damaged, or not that of these weights.
        """
        check_weights(self.path(name))
        path = _calibration_path(self.path(name))
        if not os.path.isfile(path):
            return None
        return Calibration.from_json(checksums.read_sealed(path, _REMEDY), path, _REMEDY)

    def replace_calibration(self, before: Calibration, after: Calibration) -> str:
        """Writes another calibration of the weights that `weights` tells.

        It stays that of these weights: the next ones that training saves come with a calibration of their own.

        Args:
          before: what `load_counter` gave.
          after: what takes its place.

        Returns:
          The path of the file.

        Raises:
          OSError: if it cannot be written.
          ValueError: if the run has another calibration by now.
        """
        weights = self.weights()
        path = _calibration_path(weights)
        kept = checksums.read_sealed(path, _REMEDY)
        if Calibration.from_json(kept, path, _REMEDY) != before:
            raise ValueError(
                f"{path} has changed since it was read: is the run still in training? Calibrate it when that has ended."
            )
        # Those of before have neither.
        digest = kept.get("weights_sha256") or checksums.sha256(weights)
        network = kept.get("network") or _network(self.config())
        with self.writing(), replacing(path, _temporary_path(path)) as beside:
            _write_calibration(beside, after, digest, network)
        return path

    def weights(self) -> str:
        """Returns the file of the best weights, or of the last ones if none were held out to choose by.

        Raises:
          FileNotFoundError: if the run has no weights yet, or the best ones are gone.
        """
        for name in (BEST, LAST):
            path = self.path(name)
            if os.path.isfile(path):
                return path
            # The last weights are no substitute: they count otherwise.
            if os.path.isfile(_calibration_path(path)):
                raise FileNotFoundError(f"{path} is missing: restore it from a copy, or train again.")
        raise FileNotFoundError(f"{self.folder!r} holds no weights yet ({BEST} or {LAST}): train on with --resume.")

    def load_counter(self) -> tuple[Counter, Calibration]:
        """Builds the counter with the weights that `weights` tells, in float32.

        Returns:
          The counter, and what makes counts of its maps.

        Raises:
          FileNotFoundError: if the folder holds no run, or one without weights.
          ValueError: if a file is damaged, the weights are not those of the counter or not finite, the run is of an
            earlier version of tfcount, or the counter ranks and its anchors give no line.
        """
        config, path = self.config(), self.weights()
        calibrated = _calibration_path(path)
        # Says it if the run is of an earlier version.
        if not os.path.isfile(calibrated):
            self.notes()
            raise FileNotFoundError(f"{calibrated} is missing: restore it from a copy, or train on with --resume.")
        check_weights(path)
        kept = checksums.read_sealed(calibrated, _REMEDY)
        network = kept.get("network")
        if network not in (None, _network(config)):
            raise ValueError(
                f"{path} does not hold the weights of counter {config.counter!r} as {self.path(FLAGS)} has it, "
                f"{_network(config)}, but of {network}: one of the two is of another run. {_REMEDY}"
            )
        calibration = Calibration.from_json(kept, calibrated, _REMEDY)
        if calibration.line.slope <= 0:
            raise ValueError(
                f"The run in {self.folder!r} cannot count: the potentials of its anchors do not grow with their "
                f"counts. {self.path(LOG)} tells more."
            )
        with assembly.precision("float32"):
            counter = assembly.build_counter(config, weights="none")
        if calibration.ranks:
            counter.leave_out_activation()
        try:
            assembly.load_weights(counter, path)
        except ValueError as error:
            raise ValueError(f"{error} The counter is that of {self.path(FLAGS)}.") from error
        return counter, calibration

    def load(self) -> CountingModel:
        """Loads the counter, ready to count; for errors see `load_counter`."""
        return CountingModel.of_counter(*self.load_counter())

    def checkpoints(self) -> list[str]:
        """Returns the checkpoints, the newest first, whatever TensorFlow's own list of them says.

        Raises:
          ValueError: if there are none, though the run had some.
        """
        folder = self.path(CHECKPOINTS)
        steps = checkpoints.steps_of(folder)
        # The first checkpoint may have failed, after the notes on its validation were written.
        if not steps and os.path.isfile(self.path(NOTES)) and len(self.notes()["validation"]) > 1:
            raise ValueError(
                f"--resume: the checkpoints of the run are gone from {folder!r}: start again in another --model_dir. "
                f"Its weights can be the start: --initial_weights={self.folder}."
            )
        return [os.path.join(folder, f"ckpt-{step}") for step in sorted(steps, reverse=True)]

    @contextlib.contextmanager
    def logging(self) -> Iterator[Callable[[], None]]:
        """Sends what tfcount logs to the terminal, and the details too to the file of the run.

        Gives a function that begins the file: what was logged before, when there was no folder yet, comes first.
        """
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.INFO)
        # Neither a number of records nor a level of theirs empties it.
        waiting = logging.handlers.MemoryHandler(sys.maxsize, sys.maxsize, flushOnClose=False)
        logger.setLevel(logging.DEBUG)
        propagate, logger.propagate = logger.propagate, False
        handlers: list[logging.Handler] = [terminal, waiting]

        def begin_file():
            file = logging.FileHandler(self.path(LOG))
            # On a full disk the log is the least that is lost.
            file.handleError = lambda record: None  # type: ignore[method-assign]
            file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
            waiting.setTarget(file)
            waiting.flush()
            logger.removeHandler(waiting)
            logger.addHandler(file)
            handlers.append(file)

        for handler in handlers:
            logger.addHandler(handler)
        try:
            yield begin_file
        finally:
            logger.propagate = propagate
            for handler in handlers:
                logger.removeHandler(handler)
                handler.close()


def weights_of(path: str) -> str:
    """Returns the file of weights that `--initial_weights` names: a file, or the folder of a run.

    Raises:
      FileNotFoundError: if it is the folder of a run without weights, or of no run.
      ValueError: if the weights are of a run, and damaged.
    """
    if os.path.isdir(path):
        run = Run(path)
        if not (run.exists() or any(os.path.exists(run.path(name)) for name in (BEST, LAST))):
            raise FileNotFoundError(f"--initial_weights={path} holds no run: give the folder of one, or a file.")
        path = run.weights()
    check_weights(path)
    return path


def check_weights(path: str) -> None:
    """Checks that a file of weights is the one that its calibration belongs to, where it has one that tells.

    Raises:
      ValueError: if it is another one, or the calibration is damaged.
    """
    calibrated = _calibration_path(path)
    if os.path.isfile(path) and os.path.isfile(calibrated):
        stated = checksums.read_sealed(calibrated, _REMEDY).get("weights_sha256")
        if stated not in (None, checksums.sha256(path)):
            raise ValueError(
                f"{path} is damaged, or of another run: its SHA-256 is not the one in {calibrated}. Restore both from "
                "a copy, or train again."
            )


def environment(counter: Counter) -> dict[str, Any]:
    """Returns what a number depends on besides flags: versions, commit, machine, size of the counter."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    commit = None
    # An installed tfcount may lie inside of a repository of somebody else.
    if os.path.exists(os.path.join(root, ".git")):
        with contextlib.suppress(OSError):
            git = ["git", "-C", root, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
            commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None
    versions = {"python": platform.python_version()}
    for module in (tf, keras, np, cv2):
        versions[module.__name__] = module.__version__
    return {
        "commit": commit,
        "versions": versions,
        "hardware": {
            "device": distribution.device_name(),
            "replicas": distribution.strategy().num_replicas_in_sync,
            "cores": os.cpu_count(),
        },
        "parameters": int(sum(np.prod(weight.shape) for weight in counter.weights)),
    }


def _temporary_path(path):
    """Returns what a file is called while it is written, with its ending, by which Keras goes."""
    folder, name = os.path.split(path)
    return os.path.join(folder, name.replace(".", ".tfcount-writing.", 1))


def _calibration_path(weights):
    return weights.removesuffix(".weights.h5") + ".calibration.json"


def _write_calibration(path, calibration, weights_sha256, network):
    """Writes a calibration with what tells the weights that it belongs to, and the network that these are of."""
    content = {**calibration.to_json(), "weights_sha256": weights_sha256, "network": network}
    checksums.write_sealed(path, content)


def _network(config):
    """Returns what of a config decides what the counter computes from its weights."""
    return {"counter": config.counter, "encoder": config.encoder.name, **config.options.counter_options()}


def _are_notes(notes):
    """Returns whether all that is read of the notes of a run is there, and of its kind."""

    def is_number(value):
        return isinstance(value, int | float) and not isinstance(value, bool) and (value != value or abs(value) < 1e15)

    entries = notes.get("validation")
    return (
        isinstance(notes.get("records"), str)
        and is_number(notes.get("training_minutes"))
        and isinstance(notes.get("steps"), int)
        and is_number(notes["steps"])
        and isinstance(entries, list)
        and all(isinstance(entry, dict) and all(map(is_number, entry.values())) for entry in entries)
        and all(isinstance(entry.get("step"), int) for entry in entries)
    )
