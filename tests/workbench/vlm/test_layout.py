"""Token numbers, labels and masks against examples written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench.vlm.layout import IGNORED, IMAGE, Text, Writer, conversations, padded
from workbench.vlm.questions import Question


def asked(question, answer, image="i", **more):
    return Question(image=image, question=question, answer=answer, **more)


def test_a_conversation_by_hand(language):
    """The image once, before the first question; the loss on answers and their ends."""
    writer = Writer(language.tokenizer, 3)
    found = writer.conversation([asked("ab", "c"), asked("d", "ef")])

    def ids(text):
        return language.tokenizer(text, add_special_tokens=False)["input_ids"]

    end = ids("<|im_end|>")[0]
    first = [*ids("<|im_start|>user\n"), *[IMAGE] * 3, *ids("\nab"), end]
    first += ids("\n<|im_start|>assistant\n")
    second = ids("\n<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\n")
    expected = [*first, *ids("c"), end, *second, *ids("ef"), end]
    assert found.ids.tolist() == expected
    labels = [*[IGNORED] * len(first), *ids("c"), end, *[IGNORED] * len(second), *ids("ef"), end]
    assert found.labels.tolist() == labels
    assert writer.prompt("ab").ids.tolist() == first
    assert writer.option("ab", "c").ids.tolist() == [*first, *ids("c"), writer.end]


def test_a_conversation_of_vicuna_by_hand(spelling):
    """One id for each letter: LLaVA-1.5's text, with the image before the first question."""
    tokenizer = spelling("<s>", "</s>", bos_token="<s>", eos_token="</s>")
    words = tokenizer.get_vocab()
    found = Writer(tokenizer, 2).conversation([asked("ab", "c"), asked("d", "ef")])

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    opening = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: "
    )
    parts = [
        (words["<s>"], False), (ids(opening), False), ([IMAGE] * 2, False),
        (ids("\nab ASSISTANT:"), False), (ids("c"), True), (words["</s>"], True),
        (ids("USER: d ASSISTANT:"), False), (ids("ef"), True), (words["</s>"], True),
    ]  # fmt: skip
    lists = [(one if isinstance(one, list) else [one], counted) for one, counted in parts]
    assert found.ids.tolist() == [number for one, _ in lists for number in one]
    assert found.labels.tolist() == [
        number if counted else IGNORED for one, counted in lists for number in one
    ]


def test_padding_is_masked_and_bears_no_loss():
    texts = [
        Text(np.array([1, 2, 3]), np.array([IGNORED, 2, 3])),
        Text(np.array([4]), np.array([4])),
    ]
    right, left = padded(texts), padded(texts, left=True)
    assert right["ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert right["labels"].tolist() == [[IGNORED, 2, 3], [4, IGNORED, IGNORED]]
    assert right["mask"].tolist() == [[True] * 3, [True, False, False]]
    assert left["ids"].tolist() == [[1, 2, 3], [0, 0, 4]]
    assert left["mask"].tolist() == [[True] * 3, [False, False, True]]


def test_questions_of_an_image_are_turns_until_the_length_ends(language):
    writer = Writer(language.tokenizer, 4)
    questions = [asked("a", "b"), asked("c", "d", image="j"), asked("e", "f"), asked("g", "h")]
    groups = conversations(questions, writer, length=1000, turns=9)
    assert groups == [[0, 2, 3], [1]]
    size = len(writer.conversation([questions[n] for n in (0, 2)]).ids)
    assert conversations(questions, writer, length=size, turns=9) == [[0, 2], [3], [1]]
    assert conversations(questions, writer, length=size - 1, turns=9) == [[0], [2], [3], [1]]
    assert conversations(questions, writer, length=1000, turns=1) == [[0], [2], [3], [1]]
    (whole,) = conversations([asked("a", "b")] * 40, writer, length=2048, turns=None)
    assert len(whole) == 40
    own = [asked("a", "b", conversation="1"), asked("a", "b", conversation="2")]
    assert conversations(own, writer, length=1000, turns=9) == [[0], [1]]


def test_an_answer_longer_than_the_length_is_refused(language):
    writer = Writer(language.tokenizer, 4)
    with pytest.raises(InputError, match=r"question 1 \(image i\) has \d+ tokens .* at most 60"):
        conversations([asked("a", "b" * 60)], writer, length=60, turns=1)


@pytest.mark.parametrize("marks", [("<|im_start|>", "<|im_end|>"), ("<s>", "</s>")])
def test_groups_are_those_of_counting_each_turn_alone(spelling, marks):
    """Each answer is written once, and each question as often as it is tried at a place."""
    writer = Writer(spelling(*marks, bos_token=marks[0], eos_token=marks[1]), 3)
    draw = np.random.default_rng(0)
    questions = [
        asked("q" * draw.integers(1, 40), "a" * draw.integers(1, 40), image=str(draw.integers(4)))
        for _ in range(60)
    ]

    def plain(length, turns):
        found = []
        for image in dict.fromkeys(one.image for one in questions):
            mine = [n for n, one in enumerate(questions) if one.image == image]
            found.append([])
            for n in mine:
                longer = writer.conversation([questions[k] for k in (*found[-1], n)])
                if len(longer.ids) > length or len(found[-1]) == turns:
                    found.append([])
                found[-1].append(n)
        return found

    written, words = [], writer.words
    for length, turns in ((300, 5), (400, 3), (2000, 99)):
        expected = plain(length, turns)
        writer.words = lambda text: written.append(text) or words(text)
        assert conversations(questions, writer, length=length, turns=turns) == expected
        writer.words = words
    for question in questions:
        assert written.count(question.answer) == 3 * [q.answer for q in questions].count(
            question.answer
        )
