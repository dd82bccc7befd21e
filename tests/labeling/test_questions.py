"""Files of questions and answers."""

import numpy as np
import pytest

from tfcount.labeling import questions
from tfcount.records.labels import RELATIONS, PairLabel

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


class TestFiles:
    def test_round_trip(self, tmp_path):
        path = str(tmp_path / "pairs.csv")
        questions.write_questions(path, np.array([[0, 1], [2, 0]]), IDS)
        assert questions.read_answers(path, IDS) == []
        with open(path) as file:
            answered = file.read().replace("a.jpg,b.jpg,", "a.jpg,b.jpg,greater")
        with open(path, "w") as file:
            file.write(answered)
        assert questions.read_answers(path, IDS) == [PairLabel("a.jpg", "b.jpg", "greater", "human")]

    def test_relations(self, tmp_path):
        path = tmp_path / "pairs.csv"
        path.write_text("Image_A, image_b,relation\na.jpg,b.jpg,greater\n\na.jpg, c.jpg,less\nb.jpg,d.jpg,close\n")
        labels = questions.index_pairs(questions.read_answers(str(path), IDS), IDS)
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
            questions.read_answers(str(path), IDS)

    def test_other_encodings(self, tmp_path):
        path = tmp_path / "pairs.csv"
        path.write_bytes("image_a,image_b,relation\ncaf\xe9.jpg,a.jpg,less\n".encode("latin-1"))
        with pytest.raises(ValueError, match="is not encoded as UTF-8"):
            questions.read_answers(str(path), IDS)


def test_relations_are_those_of_the_records():
    assert (questions.GREATER, questions.LESS, questions.CLOSE) == RELATIONS


class TestMerge:
    NOON, EVENING = "2026-07-01T12:00:00Z", "2026-07-01T18:00:00Z"

    def test_an_answer_gets_the_time_at_which_it_is_kept(self):
        answers = [PairLabel("a.jpg", "b.jpg", "greater", "human"), PairLabel("c.jpg", "d.jpg", "close", "human")]
        assert questions.merge([], answers, self.NOON) == [pair._replace(time=self.NOON) for pair in answers]

    @pytest.mark.parametrize("time", ["", "2026-06-30T09:00:00Z"])
    @pytest.mark.parametrize("again", [("a.jpg", "b.jpg", "greater"), ("b.jpg", "a.jpg", "less")])
    def test_what_is_said_again_stays_with_its_time(self, time, again):
        kept = [
            PairLabel("a.jpg", "b.jpg", "greater", "human", time),
            PairLabel("c.jpg", "d.jpg", "less", "human", time),
        ]
        merged = questions.merge(kept, 2 * [PairLabel(*again, "human")], self.NOON)
        assert set(merged) == set(kept) and len(merged) == 2

    def test_another_answer_takes_the_place_and_the_time(self):
        kept = questions.merge([], [PairLabel("a.jpg", "b.jpg", "greater", "human")], self.NOON)
        merged = questions.merge(kept, [PairLabel("a.jpg", "b.jpg", "less", "human")], self.EVENING)
        assert merged == [PairLabel("b.jpg", "a.jpg", "greater", "human", self.EVENING)]

    def test_a_person_who_says_what_counts_say(self):
        kept = [PairLabel("a.jpg", "b.jpg", "greater", "counts", self.NOON)]
        merged = questions.merge(kept, [PairLabel("a.jpg", "b.jpg", "greater", "human")], self.EVENING)
        assert merged == [PairLabel("a.jpg", "b.jpg", "greater", "human", self.EVENING)]


@pytest.mark.parametrize("kind", ["pairs", "images"])
def test_files_that_may_hold_answers_are_not_written_over(tmp_path, kind):
    """Neither those that another process wrote after somebody looked."""
    path = tmp_path / "questions.csv"
    path.write_text("image_a,image_b,relation\na.jpg,b.jpg,greater\n")
    with pytest.raises(FileExistsError, match=r"questions\.csv exists already: .* Give another name"):
        if kind == "pairs":
            questions.write_questions(str(path), np.array([[0, 1]]), IDS)
        else:
            questions.write_images_to_count(str(path), [], np.array([], int))
    assert "greater" in path.read_text() and len(list(tmp_path.iterdir())) == 1
