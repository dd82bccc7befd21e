"""How many questions it takes somebody who knows the counts to say what can be said of the images."""

import numpy as np
import tqdm

from tfcount.labeling import pair_selection
from tfcount.labeling.order import order_of, reduction

# What a simulated person has told apart when a line is printed, share of the pairs that can be.
_MILESTONES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def simulate(counts, number: int, ratio: float, seed: int) -> dict:
    """Asks somebody who knows the counts until nothing is left to ask, and the same somebody at random.

    Args:
      counts: `(images,)`.
      number: questions a round.
      ratio: of counts that this somebody tells apart; others are close.
      seed: of what is drawn at random.

    Returns:
      `images`, `ratio`, `pairs` that can be told apart, `reduction`, the labels that imply all of them, and
      `questions`, which has for "proposed" and "at random" how many questions it takes until each share of the pairs
      is known.

    Raises:
      ValueError: if a count is unknown, or no pair can be told apart.
    """
    images = len(counts)
    apart = len(pair_selection.from_counts(counts, ratio))
    if np.isnan(counts).any() or not apart:
        raise ValueError("--simulate needs the counts of all images, and some that differ by more than --ratio.")
    asked: dict[str, dict[float, int]] = {"proposed": {}, "at random": {}}
    for name, milestones in asked.items():
        with tqdm.tqdm(total=apart, unit="pair", desc=name, leave=False) as bar:
            for questions, labels in pair_selection.rounds(counts, number, ratio, seed, name == "proposed"):
                implied = order_of(labels.greater, images).count()
                for share in _MILESTONES:
                    if implied >= share * apart:
                        milestones.setdefault(share, questions)
                bar.update(implied - bar.n)
                if len(milestones) == len(_MILESTONES):
                    break
    return {
        "images": images,
        "ratio": ratio,
        "pairs": apart,
        "reduction": len(reduction(pair_selection.from_counts(counts, ratio), images)),
        "questions": asked,
    }


def table(found: dict) -> str:
    """Returns what `simulate` found as text."""
    lines = [
        f"{found['images']} images, {found['pairs']:,} pairs that differ by more than {found['ratio']:g}; labels "
        f"needed to imply all of them: {found['reduction']:,}",
        f"{'known':>8}" + "".join(f"{name:>12}" for name in found["questions"]) + "   questions",
    ]
    for share in _MILESTONES:
        lines.append(f"{share:>8.0%}" + "".join(f"{asked[share]:>12,}" for asked in found["questions"].values()))
    return "\n".join(lines) + "\n"
