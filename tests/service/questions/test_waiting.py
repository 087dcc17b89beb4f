"""Why an experiment waits, where that is no matter of time."""

import pytest

from service.questions.waiting import NO_GPU, NOBODY, why_it_waits

ON_GPU = {"trial": {"training": {"device": "gpu"}}}
CPUS = {"trainers": [{"device": "cpu"}, {"device": "cpu"}]}
CARD = {"trainers": [{"device": "cpu"}, {"device": "NVIDIA H100"}]}
BROKEN = {"trainers": [{"device": "cuda", "error": "no CUDA"}]}


@pytest.mark.parametrize(
    ("grid", "alive", "said"),
    [
        ({}, [], NOBODY),
        ({}, [CPUS], ""),
        (ON_GPU, [CPUS], NO_GPU),
        (ON_GPU, [BROKEN], NO_GPU),
        (ON_GPU, [CPUS, CARD], ""),
        # one that has only begun has not told of its trainers yet
        (ON_GPU, [{}], ""),
        ({"axes": {"training.device": ["gpu"]}}, [CPUS], NO_GPU),
        ({"axes": {"training.device": ["cpu", "gpu"]}}, [CPUS], ""),
    ],
)
def test_nobody_is_there_or_nobody_with_a_gpu(grid, alive, said):
    assert why_it_waits(grid, alive) == said
