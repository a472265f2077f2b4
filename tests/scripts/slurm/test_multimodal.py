"""The job of two trainings: the second starts from the first, and a requeued job resumes."""

from __future__ import annotations

import pytest

GIVEN = ("recipe.txt", "s.zarr", "captions.json", "questions.json")


def stages(calls):
    """Last word of each call's --out: the stage of the recipe is written by another name."""
    return [call.rpartition("/")[2] for call in calls]


def test_the_second_stage_is_the_recipe_s_and_starts_from_the_first(job, tmp_path):
    calls, queued, _ = job("multimodal.sbatch", *GIVEN, str(tmp_path / "run"), finishes=True)
    assert stages(calls) == ["projector", "tuned"]
    for call in calls:
        assert "--nproc-per-node 2 --module workbench.cli vlm train @recipe.txt " in call
        assert "--store s.zarr" in call
    run = tmp_path / "run"
    assert calls[0].endswith(f"--questions captions.json --out {run}/projector")
    assert "@recipe.txt --stage projector " in calls[0]
    assert calls[1].endswith(f"--from {run}/projector --questions questions.json --out {run}/tuned")
    assert "--stage" not in calls[1]
    assert not queued


@pytest.mark.parametrize("ends_with", [0, 1])
def test_a_job_that_is_stopped_in_the_first_stage_does_not_begin_the_second(
    ends_with, job, tmp_path
):
    """Not even if that stage has just finished: no second signal would come."""
    run = str(tmp_path / "run")
    calls, queued, told = job("multimodal.sbatch", *GIVEN, run, finishes=False, ends_with=ends_with)
    assert stages(calls) == ["projector"]
    assert queued == ["requeue 7"]
    assert told


def test_a_requeued_job_skips_a_finished_stage(job, tmp_path):
    (tmp_path / "run/projector").mkdir(parents=True)
    (tmp_path / "run/projector/finished.json").write_text("{}")
    calls, *_ = job("multimodal.sbatch", *GIVEN, str(tmp_path / "run"), finishes=True)
    assert stages(calls) == ["tuned"]
