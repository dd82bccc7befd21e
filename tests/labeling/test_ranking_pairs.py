"""Labels of pairs: by hand, and against networkx."""

import networkx
import numpy as np
import pytest

from tfcount.labeling import ranking_pairs
from tfcount.records.labels import RELATIONS, RankingPair

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


def as_labels(greater, close=()):
    return ranking_pairs.Labels(*(np.array(pairs, np.int64).reshape(-1, 2) for pairs in (greater, close)))


def random_labels(rng, images, number):
    """Labels without contradiction, some of them twice."""
    rank = rng.permutation(images)
    pairs = rng.integers(0, images, (number, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.where((rank[pairs[:, 0]] > rank[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])


def as_set(pairs):
    return set(map(tuple, np.asarray(pairs).tolist()))


def test_pairs_from_counts():
    """5 > 2 * 2 and 5 > 2 * 0, 2 > 2 * 0, but not 4 > 2 * 2; nothing follows from a count that is unknown."""
    counts = [5, 2, 4, 0, np.nan]
    assert as_set(ranking_pairs.from_counts(counts, 2)) == {(0, 1), (0, 3), (1, 3), (2, 3)}
    assert len(ranking_pairs.from_counts(counts, 1)) == 6
    with pytest.raises(ValueError, match=r"`ratio` must be at least 1. Received: ratio=0.5"):
        ranking_pairs.from_counts(counts, 0.5)


@pytest.mark.parametrize(("images", "number"), [(1, 0), (5, 6), (40, 100), (70, 30), (129, 800)])
def test_closure_and_reduction_are_those_of_networkx(rng, images, number):
    labels = random_labels(rng, images, number)
    graph = networkx.DiGraph(map(tuple, labels.tolist()))
    order = ranking_pairs.order_of(labels, images)
    expected = set(networkx.transitive_closure_dag(graph).edges)
    assert as_set(order.pairs()) == expected and order.count() == len(expected)
    everyone = np.argwhere(np.ones((images, images)))
    assert as_set(everyone[order.implies(*everyone.T)]) == expected
    assert as_set(ranking_pairs.needed(labels, images)) == set(networkx.transitive_reduction(graph).edges)


def test_an_implied_label_changes_nothing(rng):
    labels = random_labels(rng, 30, 60)
    order = ranking_pairs.order_of(labels, 30)
    more = np.concatenate([order.pairs(), labels])
    np.testing.assert_array_equal(ranking_pairs.order_of(more, 30).reached, order.reached)
    np.testing.assert_array_equal(ranking_pairs.needed(more, 30), ranking_pairs.needed(labels, 30))


def test_nothing_said():
    order = ranking_pairs.order_of(np.zeros((0, 2)), 3)
    assert order.count() == 0 and order.pairs().shape == (0, 2)
    assert ranking_pairs.find_cycle(np.zeros((0, 2)), 3) == []


class TestContradictions:
    def test_two_labels(self):
        """The later one comes first."""
        assert ranking_pairs.find_cycle([[0, 1], [1, 2], [2, 1]], 3) == [2, 1]

    def test_the_label_that_others_speak_against_comes_first(self):
        """0 > 1 > 3 and 0 > 2 > 3 speak against 3 > 0, given first; of each of the others only one pair."""
        greater = [[3, 0], [0, 1], [1, 3], [0, 2], [2, 3]]
        cycle = ranking_pairs.find_cycle(greater, 4)
        assert cycle[0] == 0 and len(cycle) == 3
        images = [greater[label] for label in cycle]
        assert all(one[1] == other[0] for one, other in zip(images, images[1:] + images[:1], strict=True))

    def test_against_networkx(self, rng):
        labels = random_labels(rng, 60, 150)
        assert ranking_pairs.find_cycle(labels, 60) == []
        more, fewer = ranking_pairs.order_of(labels, 60).pairs()[-1]
        labels = np.concatenate([labels, [[fewer, more]]])
        cycle = labels[ranking_pairs.find_cycle(labels, 60)]
        np.testing.assert_array_equal(cycle[:, 1], np.roll(cycle[:, 0], -1))
        with pytest.raises(ValueError, match="contradict each other"):
            ranking_pairs.order_of(labels, 60)
        # All cycles go through the wrong label.
        graph = networkx.DiGraph(map(tuple, labels.tolist()))
        assert len(cycle) == networkx.shortest_path_length(graph, more, fewer) + 1

    def test_it_is_told_by_name(self):
        with pytest.raises(ValueError, match=r"'d\.jpg' shows more than 'a\.jpg', 'a\.jpg' shows more .*these 3 first"):
            ranking_pairs.check(as_labels([[3, 0], [0, 1], [1, 3], [0, 2], [2, 3]]), IDS)

    @pytest.mark.parametrize("close", [[0, 2], [2, 0]])
    def test_close_images_that_others_tell_apart(self, close):
        with pytest.raises(ValueError, match=r"'a\.jpg' shows about as many as 'c\.jpg', and more by other labels"):
            ranking_pairs.check(as_labels([[0, 1], [1, 2]], [[1, 3], close]), IDS)

    def test_labels_that_agree(self):
        order = ranking_pairs.check(as_labels([[0, 1], [1, 2], [0, 2], [0, 1]], [[1, 3]]), IDS)
        assert as_set(order.pairs()) == {(0, 1), (1, 2), (0, 2)}


def test_images_out_of_range():
    with pytest.raises(ValueError, match=r"Images must be 0 to 1. Received: 0 to 2"):
        ranking_pairs.order_of([[0, 2]], 2)
    with pytest.raises(ValueError, match="Image 1 is compared with itself"):
        ranking_pairs.needed([[0, 1], [1, 1]], 2)


class TestPropose:
    def test_images_without_a_label_come_first(self):
        labels = as_labels([[0, 1]], [[2, 3]])
        pairs = ranking_pairs.propose(labels, 10, 3, seed=0)
        assert sorted(pairs.ravel().tolist()) == [4, 5, 6, 7, 8, 9]

    @pytest.mark.parametrize("counts", [None, np.arange(12.0)])
    def test_nothing_is_asked_that_is_known(self, rng, counts):
        labels = as_labels(random_labels(rng, 12, 20), [[0, 11]])
        order = ranking_pairs.order_of(labels.greater, 12)
        known = as_set(order.pairs()) | {(0, 11)}
        pairs = ranking_pairs.propose(labels, 12, 1000, seed=0, counts=counts)
        assert len(pairs) == 12 * 11 / 2 - len({tuple(sorted(pair)) for pair in known})
        assert not {tuple(sorted(pair)) for pair in as_set(pairs)} & {tuple(sorted(pair)) for pair in known}

    def test_what_a_model_tells(self):
        """Of 100 and 101, and of 100 and 1,000, the second can be told apart."""
        labels = as_labels([], [[1, 3], [0, 3], [2, 3]])
        pairs = ranking_pairs.propose(labels, 4, 1, seed=0, counts=np.array([100, 101, 1000, 300]))
        assert pairs[0].tolist() in ([0, 2], [1, 2])

    def test_most_follows_from_the_links_of_chains(self):
        """0 > 1 > 2 and 3 > 4 > 5: if 2 shows more than 3, nine pairs follow, and one if 0 shows more than 5."""
        reached = np.zeros((6, 6), bool)
        for start in (0, 3):
            for one, other in ((0, 1), (1, 2), (0, 2)):
                reached[start + one, start + other] = True
        follow = ranking_pairs._would_follow(reached)
        assert follow[2, 3] == 9 and follow[0, 5] == 1 and follow[0, 3] == 3
        assert follow[0, 1] == 0, "0 > 1 is known"

    def test_fewer_questions_than_at_random(self, rng):
        """Until three quarters of the pairs are known that somebody tells apart who knows the counts."""
        counts = rng.lognormal(0, 0.9, 60)
        apart = len(ranking_pairs.from_counts(counts, 2))

        def questions(choose):
            labels, asked = as_labels([]), 0
            while ranking_pairs.order_of(labels.greater, 60).count() < 0.75 * apart:
                pairs = choose(labels, asked)
                asked += len(pairs)
                labels = ranking_pairs.answered(labels, pairs, counts, 2)
            return asked

        everything = rng.permutation(np.argwhere(np.triu(np.ones((60, 60)), 1)))
        random = questions(lambda labels, asked: everything[asked : asked + 10])
        proposed = questions(lambda labels, asked: ranking_pairs.propose(labels, 60, 10, seed=asked))
        assert proposed < 0.85 * random

    def test_an_image_is_asked_about_once_while_there_are_others(self):
        pairs = ranking_pairs.propose(as_labels([]), 7, 6, seed=0)
        assert len(set(pairs[:3].ravel().tolist())) == 6
        assert len(as_set(np.sort(pairs))) == 6

    def test_everything_is_known(self):
        assert ranking_pairs.propose(as_labels([[0, 1], [1, 2]]), 3, 5, seed=0).shape == (0, 2)


def test_log_counts_are_found_again(rng):
    logs = rng.normal(0, 0.9, 40)
    pairs = rng.integers(0, 40, (1500, 2))
    labels = ranking_pairs.answered(as_labels([]), pairs[pairs[:, 0] != pairs[:, 1]], np.exp(logs), 2)
    found = ranking_pairs.log_counts(labels, np.zeros(40), spread=0.9)
    assert np.corrcoef(found, logs)[0, 1] > 0.99
    assert np.abs(found - found.mean() - logs + logs.mean()).max() < 0.4


def test_without_labels_counts_are_as_expected():
    np.testing.assert_allclose(ranking_pairs.log_counts(as_labels([]), np.arange(3.0), 1.0), [0, 1, 2], atol=1e-6)


def test_sparse_first(rng):
    """Ten images in five pairs, each image once; the other pairs come behind."""
    pairs = np.concatenate([random_labels(rng, 10, 60), np.arange(10).reshape(5, 2)])
    chosen = ranking_pairs.sparse_first(np.unique(pairs, axis=0), 8, seed=3)
    assert len(chosen) == 8 == len(as_set(chosen)) and as_set(chosen) <= as_set(pairs)
    once = next(number for number in range(8, 0, -1) if len(np.unique(chosen[:number])) == 2 * number)
    assert once >= 3
    assert len(ranking_pairs.sparse_first(pairs, 1000, seed=3)) == len(pairs)


class TestFiles:
    def test_round_trip(self, tmp_path):
        path = str(tmp_path / "pairs.csv")
        ranking_pairs.write_questions(path, np.array([[0, 1], [2, 0]]), IDS)
        assert ranking_pairs.read_answers(path, IDS) == []
        with open(path) as file:
            answered = file.read().replace("a.jpg,b.jpg,", "a.jpg,b.jpg,greater")
        with open(path, "w") as file:
            file.write(answered)
        assert ranking_pairs.read_answers(path, IDS) == [RankingPair("a.jpg", "b.jpg", "greater", "human")]

    def test_relations(self, tmp_path):
        path = tmp_path / "pairs.csv"
        path.write_text("Image_A, image_b,relation\na.jpg,b.jpg,greater\n\na.jpg, c.jpg,less\nb.jpg,d.jpg,close\n")
        labels = ranking_pairs.numbered(ranking_pairs.read_answers(str(path), IDS), IDS)
        assert labels.greater.tolist() == [[0, 1], [2, 0]] and labels.close.tolist() == [[1, 3]]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "header ''. It must be `image_a,image_b,relation`"),
            ("a,b\n", "header 'a,b'"),
            ("a.jpg,b.jpg\n", "line 2: must have 3 values. Received: 'a.jpg,b.jpg'"),
            ("a.jpg,e.jpg,less\n", r"line 2: there is no image 'e\.jpg'. Correct the name"),
            ("a.jpg,a.jpg,less\n", r"line 2: compares the image 'a\.jpg' with itself"),
            ("a.jpg,b.jpg,more\n", r"line 2: `relation` must be one of .*'close'.* Received: 'more'"),
        ],
    )
    def test_files_that_do_not_fit(self, tmp_path, content, message):
        path = tmp_path / "pairs.csv"
        header = "image_a,image_b,relation\n" if ".jpg" in content else ""
        path.write_text(header + content)
        with pytest.raises(ValueError, match=rf"pairs\.csv.*{message}"):
            ranking_pairs.read_answers(str(path), IDS)

    def test_other_encodings(self, tmp_path):
        path = tmp_path / "pairs.csv"
        path.write_bytes("image_a,image_b,relation\ncaf\xe9.jpg,a.jpg,less\n".encode("latin-1"))
        with pytest.raises(ValueError, match="is not encoded as UTF-8"):
            ranking_pairs.read_answers(str(path), IDS)


def test_part_a_of_shanghaitech(real_data):
    """The paper has 24,386 pairs and asked a person 16,194."""
    from tfrecords_tools.annotations import shanghaitech

    sources = shanghaitech.read(f"{real_data}/data", "A")["train"]
    counts = [len(shanghaitech.read_points(source.annotation_path)) for source in sources]
    pairs = ranking_pairs.from_counts(counts, 2)
    assert len(pairs) == 24406 and len(ranking_pairs.needed(pairs, len(counts))) == 14215


def test_relations_are_those_of_the_records():
    assert (ranking_pairs.GREATER, ranking_pairs.LESS, ranking_pairs.CLOSE) == RELATIONS
