"""How closely the shared student follows the pack's teacher."""

from dataclasses import replace

import numpy as np
import pytest
from small_federation import TESTED, make_plan, run, taught_teacher

from distillation.weights import get_weights
from server import fidelity
from server.federation import initial_weights
from server.fidelity import FidelitySample
from server.pack_delivery import OfferedPack


@pytest.fixture
def offered(pack):
    return OfferedPack.open(str(pack.folder))


def test_the_sample_is_the_packs_windows_by_person(offered, monkeypatch):
    """All of a small pack; of a large one so many, the same ones each time."""
    everything = FidelitySample.of(offered)
    assert sum(len(windows) for windows, _ in everything.people) == offered.manifest.num_windows
    assert len(everything.people) == 2
    monkeypatch.setattr(fidelity, "MOST_WINDOWS", 50)
    first, second = FidelitySample.of(offered), FidelitySample.of(offered)
    assert sum(len(windows) for windows, _ in first.people) == 50
    for (windows, logits), (again, same) in zip(first.people, second.people, strict=True):
        assert np.array_equal(windows, again)
        assert np.array_equal(logits, same)


def test_the_teacher_itself_agrees_with_its_cached_outputs(offered, dataset, tmp_path):
    """But for what the codec lost: the outputs are those of its own statistics, not of each person's."""
    plan = make_plan(tmp_path)
    plan = replace(plan, personalise=replace(plan.personalise, own_normalisation=False))
    facts = FidelitySample.of(offered).facts(get_weights(taught_teacher(dataset)), plan)
    assert facts["agreement"] > 0.99
    assert 0 <= facts["kl"] < 0.01


def test_a_student_that_knows_nothing_agrees_less(offered, dataset, tmp_path):
    """Fresh weights."""
    plan, sample = make_plan(tmp_path), FidelitySample.of(offered)
    fresh = sample.facts(initial_weights(plan, None), plan)
    taught = sample.facts(get_weights(taught_teacher(dataset)), plan)
    assert fresh["agreement"] < taught["agreement"]
    assert fresh["kl"] > taught["kl"]


def test_without_windows_to_compare_there_is_nothing_on_record(offered, tmp_path, dataset):
    """No pack, or one that only refers to its windows."""
    assert FidelitySample.of(None) is None
    without = OfferedPack(offered.folder, offered.signed)
    without.__dict__["manifest"] = replace(offered.manifest, includes_windows=False)
    assert FidelitySample.of(without) is None
    _, record = run(tmp_path, dataset, rounds=1)
    kinds = {event["event"] for event in record}
    assert "fidelity" not in kinds
    assert {e["subject"] for e in record if e.get("split") == "test"} == set(TESTED)
