"""Which images are held out: some at random, the last ones, or whole groups of images that look alike."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

ORDER, NAME, ATTRIBUTE = "order", "name:", "attribute:"
# How messages call what is checked here.
FLAG = "--data_validation_by"


def check_rule(rule: str) -> None:
    """Checks a rule by which images are held out.

    Args:
      rule: "" (at random), "order" (the last ones), "name:PATTERN", a regular expression that is searched in ids and
        whose first group tells groups of images apart, or "attribute:NAME", whose value does.

    Raises:
      ValueError: if it is none of them, or the pattern is no regular expression with a group.
    """
    if rule in ("", ORDER) or (rule.startswith(ATTRIBUTE) and rule != ATTRIBUTE):
        return
    if not rule.startswith(NAME):
        raise ValueError(
            f"{FLAG} must be empty, {ORDER}, {NAME}PATTERN or {ATTRIBUTE}NAME. Received: {rule!r}.",
        )
    try:
        groups = re.compile(rule.removeprefix(NAME)).groups
    except re.error as error:
        raise ValueError(f"{FLAG}={rule}: the pattern is no regular expression ({error}).") from error
    if not groups:
        raise ValueError(
            f"{FLAG}={rule}: the pattern needs parentheses around what tells cameras, scenes or days apart, as in "
            rf"{NAME}(cam\d+)_."
        )


def natural_order(identity: str) -> tuple:
    """Returns a key that sorts ids as people do: `frame_9` before `frame_10`."""
    parts = re.split(r"(\d+)", identity)
    # Every second part is a number; equal numbers of different lengths are told apart by the id itself.
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), identity


def choose(
    ids: Sequence[str], number: int, seed: int, rule: str, attributes: Callable[[], Mapping[str, dict]]
) -> set[str]:
    """Chooses the images to hold out.

    Of groups as many are taken, in an order of the seed, as fit into the number; if none fits, the smallest one.

    Args:
      ids: of all images.
      number: how many to hold out, fewer than there are.
      seed: equal seeds give equal images; the last images depend on no seed.
      rule: see `check_rule`.
      attributes: reads the attributes of all images, by id; only called where the rule names one.

    Returns:
      Their ids: `number` of them, or whole groups.

    Raises:
      ValueError: if the rule is not legal, an image belongs to no group, or all images are one group.
    """
    check_rule(rule)
    if not number:
        return set()
    if rule == ORDER:
        return set(sorted(ids, key=natural_order)[-number:])
    ids, generator = sorted(ids), np.random.default_rng(seed)
    if not rule:
        return {ids[index] for index in generator.permutation(len(ids))[:number]}
    if rule.startswith(NAME):
        group_of = _groups_by_name(ids, rule)
    else:
        group_of = _groups_by_attribute(attributes(), rule)
    groups: dict[str, list[str]] = {}
    for identity in ids:
        groups.setdefault(group_of[identity], []).append(identity)
    if len(groups) == 1:
        raise ValueError(f"{FLAG}={rule}: all {len(ids)} images are of one group, {next(iter(groups))!r}.")
    names = sorted(groups)
    shuffled = [names[index] for index in generator.permutation(len(names))]
    chosen: set[str] = set()
    for name in shuffled:
        if len(chosen) + len(groups[name]) <= number:
            chosen.update(groups[name])
    return chosen or set(groups[min(shuffled, key=lambda name: len(groups[name]))])


def _groups_by_name(ids, rule):
    """Returns the group of each image, by id."""
    pattern = re.compile(rule.removeprefix(NAME))
    found = {identity: match[1] for identity in ids if (match := pattern.search(identity)) and match[1] is not None}
    missing = [identity for identity in ids if identity not in found]
    if missing:
        raise ValueError(
            f"{FLAG}={rule}: the pattern does not match {len(missing)} of {len(ids)} images, such as {missing[0]!r}."
        )
    return found


def _groups_by_attribute(attributes, rule):
    name = rule.removeprefix(ATTRIBUTE)
    missing = sorted(identity for identity, known in attributes.items() if name not in known)
    if missing:
        others = sorted({other for known in attributes.values() for other in known})
        raise ValueError(
            f"{FLAG}={rule}: {len(missing)} of {len(attributes)} images have no attribute {name!r}, such as "
            f"{missing[0]!r}. Attributes of these records: {', '.join(others) or 'none'}."
        )
    return {identity: json.dumps(known[name], sort_keys=True) for identity, known in attributes.items()}
