"""Which pairs to ask, and what a person says who knows the counts."""

import numpy as np
import pytest

from tests.labeling.pairs import as_labels, as_set, random_labels
from tfcount.labeling import pair_selection
from tfcount.labeling.order import order_of, reduction


def test_pairs_from_counts():
    """5 > 2 * 2 and 5 > 2 * 0, 2 > 2 * 0, but not 4 > 2 * 2; nothing follows from a count that is unknown."""
    counts = [5, 2, 4, 0, np.nan]
    assert as_set(pair_selection.from_counts(counts, 2)) == {(0, 1), (0, 3), (1, 3), (2, 3)}
    assert len(pair_selection.from_counts(counts, 1)) == 6
    with pytest.raises(ValueError, match=r"`ratio` must be at least 1. Received: ratio=0.5"):
        pair_selection.from_counts(counts, 0.5)


class TestPropose:
    def test_images_without_a_label_come_first(self):
        labels = as_labels([[0, 1]], [[2, 3]])
        pairs = pair_selection.propose(labels, 10, 3, seed=0)
        assert sorted(pairs.ravel().tolist()) == [4, 5, 6, 7, 8, 9]

    @pytest.mark.parametrize("counts", [None, np.arange(12.0)])
    def test_nothing_is_asked_that_is_known(self, rng, counts):
        labels = as_labels(random_labels(rng, 12, 20), [[0, 11]])
        order = order_of(labels.greater, 12)
        known = as_set(order.pairs()) | {(0, 11)}
        pairs = pair_selection.propose(labels, 12, 1000, seed=0, counts=counts)
        assert len(pairs) == 12 * 11 / 2 - len({tuple(sorted(pair)) for pair in known})
        assert not {tuple(sorted(pair)) for pair in as_set(pairs)} & {tuple(sorted(pair)) for pair in known}

    def test_what_a_model_tells(self):
        """Of 100 and 101, and of 100 and 1,000, the second can be told apart."""
        labels = as_labels([], [[1, 3], [0, 3], [2, 3]])
        pairs = pair_selection.propose(labels, 4, 1, seed=0, counts=np.array([100, 101, 1000, 300]))
        assert pairs[0].tolist() in ([0, 2], [1, 2])

    def test_most_follows_from_the_links_of_chains(self):
        """0 > 1 > 2 and 3 > 4 > 5: if 2 shows more than 3, nine pairs follow, and one if 0 shows more than 5."""
        reached = np.zeros((6, 6), bool)
        for start in (0, 3):
            for one, other in ((0, 1), (1, 2), (0, 2)):
                reached[start + one, start + other] = True
        follow = pair_selection._would_follow(reached)
        assert follow[2, 3] == 9 and follow[0, 5] == 1 and follow[0, 3] == 3
        assert follow[0, 1] == 0, "0 > 1 is known"

    def test_fewer_questions_than_at_random(self, rng):
        """Until three quarters of the pairs are known that somebody tells apart who knows the counts."""
        counts = rng.lognormal(0, 0.9, 60)
        apart = len(pair_selection.from_counts(counts, 2))

        def questions(choose):
            labels, asked = as_labels([]), 0
            while order_of(labels.greater, 60).count() < 0.75 * apart:
                pairs = choose(labels, asked)
                asked += len(pairs)
                labels = pair_selection.answer(labels, pairs, counts, 2)
            return asked

        everything = rng.permutation(np.argwhere(np.triu(np.ones((60, 60)), 1)))
        random = questions(lambda labels, asked: everything[asked : asked + 10])
        proposed = questions(lambda labels, asked: pair_selection.propose(labels, 60, 10, seed=asked))
        assert proposed < 0.85 * random

    def test_an_image_is_asked_about_once_while_there_are_others(self):
        pairs = pair_selection.propose(as_labels([]), 7, 6, seed=0)
        assert len(set(pairs[:3].ravel().tolist())) == 6
        assert len(as_set(np.sort(pairs))) == 6

    def test_everything_is_known(self):
        assert pair_selection.propose(as_labels([[0, 1], [1, 2]]), 3, 5, seed=0).shape == (0, 2)


def test_log_counts_are_found_again(rng):
    logs = rng.normal(0, 0.9, 40)
    pairs = rng.integers(0, 40, (1500, 2))
    labels = pair_selection.answer(as_labels([]), pairs[pairs[:, 0] != pairs[:, 1]], np.exp(logs), 2)
    found = pair_selection.log_counts(labels, np.zeros(40), spread=0.9)
    assert np.corrcoef(found, logs)[0, 1] > 0.99
    assert np.abs(found - found.mean() - logs + logs.mean()).max() < 0.4


def test_without_labels_counts_are_as_expected():
    np.testing.assert_allclose(pair_selection.log_counts(as_labels([]), np.arange(3.0), 1.0), [0, 1, 2], atol=1e-6)


def test_sparse_first(rng):
    """Ten images in five pairs, each image once; the other pairs come behind."""
    pairs = np.concatenate([random_labels(rng, 10, 60), np.arange(10).reshape(5, 2)])
    chosen = pair_selection.sparse_first(np.unique(pairs, axis=0), 8, seed=3)
    assert len(chosen) == 8 == len(as_set(chosen)) and as_set(chosen) <= as_set(pairs)
    once = next(number for number in range(8, 0, -1) if len(np.unique(chosen[:number])) == 2 * number)
    assert once >= 3
    assert len(pair_selection.sparse_first(pairs, 1000, seed=3)) == len(pairs)


def test_part_a_of_shanghaitech(real_data):
    """The paper has 24,386 pairs and asked a person 16,194."""
    from tfrecords_tools.annotations import shanghaitech

    sources = shanghaitech.read(f"{real_data}/data", "A")["train"]
    counts = [len(shanghaitech.read_heads(source.annotation_path).points) for source in sources]
    pairs = pair_selection.from_counts(counts, 2)
    assert len(pairs) == 24406 and len(reduction(pairs, len(counts))) == 14215
