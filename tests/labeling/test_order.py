"""What labels of pairs imply: by hand, and against networkx."""

import networkx
import numpy as np
import pytest

from tests.labeling.pairs import as_labels, as_set, random_labels
from tfcount.labeling.order import check, find_cycle, order_of, reduction

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.mark.parametrize(("images", "number"), [(1, 0), (5, 6), (40, 100), (70, 30), (129, 800)])
def test_closure_and_reduction_are_those_of_networkx(rng, images, number):
    labels = random_labels(rng, images, number)
    graph = networkx.DiGraph(map(tuple, labels.tolist()))
    order = order_of(labels, images)
    expected = set(networkx.transitive_closure_dag(graph).edges)
    assert as_set(order.pairs()) == expected and order.count() == len(expected)
    everyone = np.argwhere(np.ones((images, images)))
    assert as_set(everyone[order.implies(*everyone.T)]) == expected
    assert as_set(reduction(labels, images)) == set(networkx.transitive_reduction(graph).edges)


def test_an_implied_label_changes_nothing(rng):
    labels = random_labels(rng, 30, 60)
    order = order_of(labels, 30)
    more = np.concatenate([order.pairs(), labels])
    np.testing.assert_array_equal(order_of(more, 30).reached, order.reached)
    np.testing.assert_array_equal(reduction(more, 30), reduction(labels, 30))


def test_nothing_said():
    order = order_of(np.zeros((0, 2)), 3)
    assert order.count() == 0 and order.pairs().shape == (0, 2)
    assert find_cycle(np.zeros((0, 2)), 3) == []


class TestContradictions:
    def test_two_labels(self):
        """The later one comes first."""
        assert find_cycle([[0, 1], [1, 2], [2, 1]], 3) == [2, 1]

    def test_the_label_that_others_speak_against_comes_first(self):
        """0 > 1 > 3 and 0 > 2 > 3 speak against 3 > 0, given first; of each of the others only one pair."""
        greater = [[3, 0], [0, 1], [1, 3], [0, 2], [2, 3]]
        cycle = find_cycle(greater, 4)
        assert cycle[0] == 0 and len(cycle) == 3
        images = [greater[label] for label in cycle]
        assert all(one[1] == other[0] for one, other in zip(images, images[1:] + images[:1], strict=True))

    def test_against_networkx(self, rng):
        labels = random_labels(rng, 60, 150)
        assert find_cycle(labels, 60) == []
        more, fewer = order_of(labels, 60).pairs()[-1]
        labels = np.concatenate([labels, [[fewer, more]]])
        cycle = labels[find_cycle(labels, 60)]
        np.testing.assert_array_equal(cycle[:, 1], np.roll(cycle[:, 0], -1))
        with pytest.raises(ValueError, match="contradict each other"):
            order_of(labels, 60)
        # All cycles go through the wrong label.
        graph = networkx.DiGraph(map(tuple, labels.tolist()))
        assert len(cycle) == networkx.shortest_path_length(graph, more, fewer) + 1

    def test_it_is_told_by_name(self):
        with pytest.raises(ValueError, match=r"'d\.jpg' shows more than 'a\.jpg', 'a\.jpg' shows more .*these 3 first"):
            check(as_labels([[3, 0], [0, 1], [1, 3], [0, 2], [2, 3]]), IDS)

    @pytest.mark.parametrize("close", [[0, 2], [2, 0]])
    def test_close_images_that_others_tell_apart(self, close):
        with pytest.raises(ValueError, match=r"'a\.jpg' shows about as many as 'c\.jpg', and more by other labels"):
            check(as_labels([[0, 1], [1, 2]], [[1, 3], close]), IDS)

    def test_labels_that_agree(self):
        order = check(as_labels([[0, 1], [1, 2], [0, 2], [0, 1]], [[1, 3]]), IDS)
        assert as_set(order.pairs()) == {(0, 1), (1, 2), (0, 2)}


def test_images_out_of_range():
    with pytest.raises(ValueError, match=r"Images must be 0 to 1. Received: 0 to 2"):
        order_of([[0, 2]], 2)
    with pytest.raises(ValueError, match="Image 1 is compared with itself"):
        reduction([[0, 1], [1, 1]], 2)
