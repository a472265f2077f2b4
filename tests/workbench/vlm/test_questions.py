"""Each of the field's forms, read as it is, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from feature_store import InputError
from workbench import datasets
from workbench.vlm.matching import rows_of
from workbench.vlm.questions import Question, read, sha256


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_table(tmp_path):
    path = write(tmp_path / "q.csv", "path,question,answer,choices,type\na.jpg,What?,x,y|x,kind\n")
    assert read([path]) == [
        Question(image="a.jpg", question="What?", answer="x", choices=("y", "x"), type="kind")
    ]


def test_lettered_choices_of_a_tsv(tmp_path):
    head = "index\timage\thint\tquestion\tA\tB\tC\tanswer\tcategory\n"
    found = read([write(tmp_path / "q.tsv", f"{head}0\ti\tlook\tWhich?\tcat\tdog\t\tB\tk\n")])
    assert found == [
        Question(image="i", question="look\nWhich?", answer="dog", choices=("cat", "dog"), type="k")
    ]


def test_spaces_around_a_cell_do_not_count(tmp_path):
    head = "image, question,answer , choices\n"
    (found,) = read([write(tmp_path / "q.csv", f"{head} i ,What? , red ,red | blue\n")])
    assert found == Question(image="i", question="What?", answer="red", choices=("red", "blue"))
    head = "image,question,answer,A, B\n"
    found = read([write(tmp_path / "q.csv", f"{head}i,?, red,red , blue\ni,?, b ,red , blue\n")])
    assert [(q.answer, q.choices) for q in found] == [(c, ("red", "blue")) for c in ("red", "blue")]


def test_columns_that_are_not_lettered_choices(tmp_path):
    head = "image,question,answer"
    for names in ("x,y", "a,b", "X,Y", "B,C", "A,C"):
        (found,) = read([write(tmp_path / "q.csv", f"{head},{names}\ni,?,red,12,40\n")])
        assert (found.answer, found.choices) == ("red", ()), names
    (found,) = read([write(tmp_path / "q.csv", f"{head},A,B,D,x\ni,?,b,cat,dog,cow,40\n")])
    assert (found.answer, found.choices) == ("dog", ("cat", "dog"))


def test_llava_s_conversations_keep_their_turns_together(tmp_path):
    def entry(image, *turns):
        who = ["human", "gpt"] * (len(turns) // 2)
        said = [{"from": w, "value": text} for w, text in zip(who, turns, strict=True)]
        return {"id": "x", "image": image, "conversations": said}

    entries = [
        entry("a/b.jpg", "<image>\nWhat?", "A cat.", "Where?", "There."),
        entry("c", "?", "!"),
    ]
    found = read([write(tmp_path / "q.json", entries)])
    assert [(q.image, q.question, q.answer, q.conversation) for q in found] == [
        ("a/b.jpg", "What?", "A cat.", "1"), ("a/b.jpg", "Where?", "There.", "1"),
        ("c", "?", "!", "2"),
    ]  # fmt: skip
    del entries[0]["image"]
    said = []
    found = read([write(tmp_path / "q.json", entries)], log=said.append)
    assert [(q.image, q.conversation) for q in found] == [("c", "2")]
    assert [line.partition(": ")[2][:6] for line in said] == ["1 of 2"]
    with pytest.raises(InputError, match="none of the 1 entries has an image"):
        read([write(tmp_path / "q.json", entries[:1])])


def test_vqa_questions_and_annotations(tmp_path):
    asked = {
        "data_subtype": "val2014",
        "questions": [{"question_id": 5, "image_id": 42, "question": "How many?"}],
    }
    told = {
        "annotations": [
            {"question_id": 5, "answers": [{"answer": "2"}, {"answer": "2"}, {"answer": "3"}],
             "answer_type": "number"}
        ]
    }  # fmt: skip
    paths = [write(tmp_path / "q.json", asked), write(tmp_path / "a.json", told)]
    (found,) = read(paths)
    assert found.image == "COCO_val2014_000000000042.jpg"
    assert (found.answer, found.answers, found.type) == ("2", ("2", "2", "3"), "number")
    with pytest.raises(InputError, match="no 'annotations'"):
        read(paths[:1])


def test_folders_of_vstar(tmp_path):
    content = {"question": "What colour?", "options": ["It is red.", "It is blue."]}
    write(tmp_path / "direct_attributes/sa.1.5.json", content)
    (tmp_path / "direct_attributes/sa.1.5.jpg").touch()
    (tmp_path / "direct_attributes/sa.1.jpg").touch()
    (found,) = read([tmp_path])
    assert found.image == "direct_attributes/sa.1.5.jpg"
    assert (found.answer, found.type) == ("It is red.", "direct_attributes")
    (tmp_path / "direct_attributes/sa.1.5.jpg").unlink()
    with pytest.raises(InputError, match=r"sa\.1\.5\.json: found 0 images"):
        read([tmp_path])


def test_of_vstar_s_folders_those_of_its_score_are_read(tmp_path):
    said = []

    def kinds(*more):
        for kind in more:
            write(tmp_path / kind / "a.json", {"question": "?", "options": ["yes", "no"]})
            (tmp_path / kind / "a.jpg").touch()
        return [question.type for question in read([tmp_path], log=said.append)]

    assert kinds("OCR", "direct_attributes") == ["OCR", "direct_attributes"]
    official = ["direct_attributes", "relative_position"]
    (tmp_path / "empty").mkdir()
    assert not said
    assert kinds("GPT4V-hard", "relative_position") == official
    (line,) = said
    assert f"{tmp_path}: GPT4V-hard, OCR;" in line
    for kind in ("GPT4V-hard", "OCR"):
        (tmp_path / kind / "a.json").unlink()
    assert kinds() == official
    assert len(said) == 1


def test_easy_vqa_s_questions_have_the_answers_of_their_kind_as_choices(tmp_path):
    entries = [["is there a circle?", "no", 0], ["what is the red shape?", "triangle", 0],
               ["what color is the shape?", "teal", 7]]  # fmt: skip
    found = read([write(tmp_path / "q.json", entries)])
    assert [(q.image, q.answer, q.type) for q in found] == [
        ("images/0.png", "no", "yes or no"), ("images/0.png", "triangle", "shape"),
        ("images/7.png", "teal", "colour"),
    ]  # fmt: skip
    assert [len(q.choices) for q in found] == [2, 3, 8]
    entries.append(["is there a circle?", "maybe", 0])
    with pytest.raises(InputError, match=r"entry 4 .*\"maybe\".*gray"):
        read([write(tmp_path / "q.json", entries)])


def test_the_package_s_questions_are_about_its_pictures():
    package = pytest.importorskip("easy_vqa", reason="install the extra: vlm")
    for part, pictures, questions in (("train", 4000, 38575), ("test", 1000, 9673)):
        folder = Path(package.__path__[0]) / "data" / part
        found = read([folder / "questions.json"])
        assert len(found) == questions
        ids = datasets.open(f"folder:{folder / 'images'}").image_ids
        assert len(set(rows_of(found, ids, "easy-vqa").tolist())) == len(ids) == pictures


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("image,question,answer\n,What?,x\n", "question 1 has no image"),
        ("image,question,answer\na,What?,\n", "question 1 has no answer"),
        ("image,question,answer\na, ,x\n", "question 1 has no question"),
        ("image,question,answer,choices\na,What?,x,y|z\n", "'x' is not among the choices 'y', 'z'"),
        ("image,text,answer\na,What?,x\n", "lacks question"),
        ("image,question,answer\na,What?\n", "line 2 has more or fewer"),
        ("image,question,answer\n", "contains no question"),
        ("image,question,answer,Answer\na,What?,x,y\n", "2 columns answer"),
        (f"image,question,answer\n{'/9j4' * 50_000},What?,x\n", "line 2 has 200000 .* path"),
    ],
)
def test_incomplete_questions_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read([write(tmp_path / "q.csv", rows)])


def llava(**entry):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    return {"image": "a.jpg", "conversations": turns} | entry


def vqa(asked=(), truth=(), **more):
    one = {"question_id": 5, "image_id": 42, "question": "How?", **dict(asked)}
    told = {"question_id": 5, "answers": ["2"], **dict(truth)}
    return {
        "questions": [{k: v for k, v in one.items() if v is not None}],
        "annotations": [{k: v for k, v in told.items() if v is not None}],
        **more,
    }


def twice(name):
    return vqa() | {name: 2 * vqa()[name]}


def turns(answer):
    return [{"from": "human", "value": "?"}, answer]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([llava(), llava(image=["a.jpg"])], r"entry 2: 'image' is \[\"a\.jpg\"\]"),
        ([llava(conversations=turns({"from": "gpt", "value": 3}))], "entry 1: 'value' is 3"),
        ([llava(conversations=turns({"from": "gpt"}))], "entry 1: 'value' is missing"),
        ([llava(), llava(conversations=[])], r"entry 2: 'conversations' is \[\]; .*human and gpt"),
        ([llava(conversations=["?", "!"])], r'entry 1: a turn is "\?"'),
        ([llava(), "text"], 'entry 2 is "text"'),
        ([["is it?", "no", 0], ["is it?", ["no"], 0]], r'entry 2 is \["is it\?", \["no"\], 0\]'),
        ([["is it?", "no", 0], {"a": 1}], r'entry 2 is \{"a": 1\}'),
        (5, "is 5; expected a JSON object"),
        (vqa(truth={"answers": []}), "question_id 5.*no 'answers'"),
        (vqa(truth={"answers": None}), "question_id 5.*no 'answers'"),
        (vqa(truth={"answers": 3}), "'answers' is 3"),
        (vqa(truth={"answers": [{"text": "2"}]}), "'answers' is"),
        (vqa(asked={"question_id": None}), "entry 1 of 'questions': 'question_id' is missing"),
        (vqa(truth={"question_id": None}), "entry 1 of 'annotations': 'question_id' is missing"),
        (vqa(asked={"question": None}), "entry 1 of 'questions': 'question' is missing"),
        (vqa(asked={"image_id": "42"}, data_subtype="val2014"), "'image_id' is \"42\".*val2014"),
        (twice("questions"), "entry 2 of 'questions': 'question_id' is 5"),
        (twice("annotations"), "entry 2 of 'annotations': 'question_id' is 5"),
        ({**vqa(), "questions": {}}, r"'questions' is \{\}; expected a list"),
    ],
)
def test_malformed_entries_are_named(tmp_path, content, message):
    with pytest.raises(InputError, match=rf"q\.json.*{message}"):
        read([write(tmp_path / "q.json", content)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], r"is \[1\]; expected a JSON object"),
        ({"question": "?", "options": [1, 2]}, r"'options' is \[1, 2\]"),
        ({"question": "?", "options": 3}, "'options' is 3"),
        ({"options": ["a", "b"]}, "'question' is missing"),
    ],
)
def test_malformed_files_of_vstar_are_named(tmp_path, content, message):
    write(tmp_path / "kind/a.json", content)
    (tmp_path / "kind/a.jpg").touch()
    with pytest.raises(InputError, match=rf"a\.json.*{message}"):
        read([tmp_path])


def test_no_file_is_ignored_and_no_limit_is_below_one(tmp_path):
    table = write(tmp_path / "q.csv", "image,question,answer\na,?,!\nb,?,!\n")
    talk = write(tmp_path / "q.json", [llava()])
    both = write(tmp_path / "vqa.json", vqa())
    for paths in ([table, table], [talk, talk], [tmp_path, table], [both, both]):
        with pytest.raises(InputError, match=rf"{paths[1].name}"):
            read(paths)
    for limit in (0, -20):
        with pytest.raises(InputError, match=f"--limit is {limit}"):
            read([table], limit)
    assert len(read([table], 1)) == 1


def test_long_texts_are_read_and_the_bound_of_csv_stays(tmp_path):
    long = "x" * 200_000
    (found,) = read([write(tmp_path / "q.csv", f"image,question,answer\na,{long},!\n")])
    assert found.question == long
    assert csv.field_size_limit() == 131_072


def test_the_hash_is_that_of_content_and_order():
    a, b = (Question(image=name, question="?", answer="!") for name in "ab")
    assert sha256([a, b]) == sha256([a, b]) != sha256([b, a])
