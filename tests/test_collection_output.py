from __future__ import annotations

import multiprocessing

import pytest
from collection_cases import SETTINGS

from bottomup_fast.collection import output
from bottomup_fast.collection.output import RUN, UNFINISHED, claimed, locked
from bottomup_fast.collection.recipe import Recipe
from bottomup_fast.errors import InputError

RECIPE = Recipe(
    package_version="1",
    file_sha256="0123456789abcdef" * 4,
    settings=SETTINGS,
    keep_background=False,
    leave_outliers=False,
    tile_size=1024,
    precision="fast",
)


def claim(folder, recipe=RECIPE, overwrite=False):
    with claimed(folder, recipe, ["a", "b"], overwrite=overwrite):
        pass


def test_the_same_recipe_goes_on(tmp_path):
    claim(tmp_path / "new")
    claim(tmp_path / "new")
    assert Recipe.model_validate_json((tmp_path / "new" / RUN).read_text()) == RECIPE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"package_version": "2"}, "package_version 1, now 2"),
        ({"file_sha256": "f" * 64}, "file_sha256 0123456789ab..., now ffffffffffff..."),
        ({"keep_background": True}, "keep_background False, now True"),
        (
            {
                "package_version": "2",
                "keep_background": True,
                "leave_outliers": True,
                "tile_size": 9,
            },
            "package_version 1, now 2; keep_background False, now True; "
            "leave_outliers False, now True; and 1 more",
        ),
    ],
)
def test_another_recipe_is_refused_by_name(tmp_path, change, named):
    claim(tmp_path)
    other = RECIPE.model_copy(update=change)
    assert other.digest() != RECIPE.digest()
    with pytest.raises(InputError) as error:
        claim(tmp_path, other)
    assert str(error.value) == (
        f"{tmp_path}: made otherwise ({named}); choose another --output, or --overwrite it"
    )
    claim(tmp_path, RECIPE)
    claim(tmp_path, other, overwrite=True)
    claim(tmp_path, other)


@pytest.mark.parametrize("content", ["", "{}", '{"package_version": 1}'])
def test_a_damaged_run_file_is_refused(tmp_path, content):
    (tmp_path / RUN).write_text(content)
    with pytest.raises(InputError, match=f"^{tmp_path / RUN}: does not say what made the results"):
        claim(tmp_path)
    claim(tmp_path, overwrite=True)
    claim(tmp_path)


def test_a_folder_that_others_made_is_refused_where_it_matters(tmp_path):
    (tmp_path / "log.txt").touch()
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=f"^{tmp_path}: has b, but no {RUN} says what made it; "):
        claim(tmp_path)
    (tmp_path / "b").rmdir()
    claim(tmp_path)


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path):
    (tmp_path / UNFINISHED / "a" / "0").mkdir(parents=True)
    claim(tmp_path)
    assert not (tmp_path / UNFINISHED).exists()


def test_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "LOCK_SECONDS", 0.2)
    with (
        claimed(tmp_path, RECIPE, [], overwrite=False),
        pytest.raises(InputError, match=f"^{tmp_path}: another run is writing to it$"),
    ):
        claim(tmp_path, overwrite=True)
    claim(tmp_path)


def test_a_run_waits_for_the_last_worker_of_a_killed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "LOCK_SECONDS", 0.2)
    with claimed(tmp_path, RECIPE, [], overwrite=False), locked(tmp_path, alone=False):
        pass
    with locked(tmp_path, alone=False), pytest.raises(InputError, match="another run"):
        claim(tmp_path)
    monkeypatch.setattr(output, "LOCK_SECONDS", 60)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=_hold_for_a_moment, args=(tmp_path, ready))
    worker.start()
    assert ready.wait(60)
    claim(tmp_path)
    worker.join(60)
    assert worker.exitcode == 0


def _hold_for_a_moment(folder, ready):
    with locked(folder, alone=False):
        ready.set()
        multiprocessing.Event().wait(0.5)
