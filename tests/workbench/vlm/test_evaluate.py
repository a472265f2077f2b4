"""Likelihoods against a loop over options with transformers alone; generation against argmax."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from feature_store import InputError
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import Answerer, evaluate, require_text
from workbench.vlm.evaluate import answer as answer_about
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import fit
from workbench.vlm.layout import IMAGE
from workbench.vlm.run import Run

ONE = "toy:a#b@8"


@pytest.fixture
def ran(planted, loud, tmp_path):
    """A run whose language model has settings of its own, against repeated and short answers."""
    own = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 1, "min_new_tokens": 4}
    Path(loud.removeprefix("hf:"), "generation_config.json").write_text(json.dumps(own))
    store, asked = planted("train", count=12)
    options = VlmConfig(llm=loud, arithmetic="fp32", batch=4, epochs=1, learning_rate=0.02)
    fit(store, ONE, asked, options, seed=0, folder=tmp_path / "run", log=print)
    run = Run.open(tmp_path / "run")
    return run, *run.model("cpu", print), store, asked


def embedded(model, writer, store, question, row):
    ids = torch.from_numpy(writer.prompt(question.question).ids)
    place = int((ids == IMAGE).nonzero()[0])
    embed = model.causal.get_input_embeddings()
    tokens = torch.from_numpy(store.features(ONE).values[row : row + 1])
    after = embed(ids[place + writer.image_tokens :])
    return torch.cat([embed(ids[:place]), model.projector(tokens)[0], after])


@torch.inference_mode()
def test_likelihood_is_a_loop_over_options(ran):
    run, model, writer, store, asked = ran
    config = EvaluationConfig(score="likelihood", batch=5)
    found, scores, answers = evaluate(run, model, writer, store, asked, config)
    embed = model.causal.get_input_embeddings()
    for row, (question, answer) in enumerate(zip(asked, answers, strict=True)):
        losses = []
        for option in question.choices:
            words = torch.tensor([*writer.words(option), writer.end])
            prompt = embedded(model, writer, store, question, row)
            logits = model.causal(inputs_embeds=torch.cat([prompt, embed(words)])[None]).logits[0]
            losses.append(cross_entropy(logits[len(prompt) - 1 : -1], words).item())
        assert answer == question.choices[losses.index(min(losses))]
    assert found["accuracy"] == scores.mean()
    assert (found["score"], found["questions"]) == ("likelihood", 12)


@torch.inference_mode()
@pytest.mark.parametrize("batch", [1, 5])
def test_generated_answers_are_the_likeliest_words_one_after_the_other(ran, batch):
    """Alone and beside longer questions, whatever the language model's own settings."""
    run, model, writer, store, asked = ran
    asked = [replace(asked[n], question="colour? " * (6 - n)) for n in range(6)]
    config = EvaluationConfig(score="exact", new_tokens=4, batch=batch)
    _, scores, answers = evaluate(run, model, writer, store, asked, config)
    embed = model.causal.get_input_embeddings()
    for row, (question, answer) in enumerate(zip(asked, answers, strict=True)):
        words = embedded(model, writer, store, question, row)
        said = []
        while len(said) < 4 and writer.end not in said:
            said.append(int(model.causal(inputs_embeds=words[None]).logits[0, -1].argmax()))
            words = torch.cat([words, embed(torch.tensor(said[-1:]))])
        assert answer == writer.decoded(said)
        assert scores[row] == float(answer == question.answer)


def test_letters_follow_the_order_in_which_choices_are_listed(ran, monkeypatch):
    """Answers are in turn the letter of the right choice and that of the next one in the file."""
    run, model, writer, store, asked = ran
    orders = []

    def said(answerer, texts, rows):
        letters = []
        for number, (text, question) in enumerate(zip(texts, asked, strict=True)):
            prompt = writer.decoded([n for n in text.ids.tolist() if n != IMAGE])
            listed = {choice: letter for letter, choice in re.findall(r"([A-D])\. (\w+)", prompt)}
            orders.append(tuple(listed))
            place = question.choices.index(question.answer) + number % 2
            letters.append(listed[question.choices[place % 4]])
        return letters

    monkeypatch.setattr(Answerer, "generate", said)
    config = EvaluationConfig(score="letter", shuffle_choices=True, new_tokens=2, seed=5)
    found, scores, _ = evaluate(run, model, writer, store, asked, config)
    assert (found["choices"], found["seed"]) == ("shuffled", 5)
    assert len(set(orders)) > 6
    assert scores.tolist() == [1, 0] * 6


def test_answers_without_room_or_question_are_refused(ran):
    run, model, writer, store, asked = ran
    tokens = len(writer.prompt(asked[0].question).ids)
    config = EvaluationConfig(new_tokens=3000)
    with pytest.raises(InputError, match=f"--new-tokens is 3000; .* at most {2048 - tokens},"):
        evaluate(run, model, writer, store, asked[:1], config)
    with pytest.raises(InputError, match="at most 2048: shorten it"):
        evaluate(run, model, writer, store, [replace(asked[0], question="?" * 2048)], config)
    second = [asked[0], replace(asked[1], question="?" * 2048)]
    with pytest.raises(InputError, match="^question 2 has"):
        evaluate(run, model, writer, store, second, EvaluationConfig(score="likelihood"))
    with pytest.raises(InputError, match="--question is empty"):
        require_text(" ")


def test_a_model_that_diverged_chooses_nothing(ran, monkeypatch):
    run, model, writer, store, asked = ran
    monkeypatch.setattr(
        model, "losses", lambda batch: torch.full(batch["ids"][:, 1:].shape, torch.nan)
    )
    with pytest.raises(InputError, match="'red' of question 1 is nan; .*lower learning rate"):
        evaluate(run, model, writer, store, asked, EvaluationConfig(score="likelihood"))


def test_an_answer_about_a_file_takes_the_room_that_is_left(ran):
    run, model, writer, store, _ = ran
    tokens = torch.from_numpy(store.features(ONE).values[:1])
    opening = len(writer.prompt("").ids)
    for room in (1, 4, 40):
        said = answer_about(run, model, writer, tokens, "?" * (2048 - opening - room))
        assert len(said) <= min(room, 32)  # each token is at most one letter
    with pytest.raises(InputError, match="--question has 2048 .* at most 2016: shorten") as refused:
        answer_about(run, model, writer, tokens, "?" * (2048 - opening))
    assert "--new-tokens" not in str(refused.value)


def test_only_listed_choices_are_shuffled():
    for score in ("exact", "likelihood", "vqa"):
        with pytest.raises(InputError, match=f"--shuffle-choices .*--score is {score}"):
            EvaluationConfig(score=score, shuffle_choices=True)
