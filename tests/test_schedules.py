"""Schedules: their documented formulas, torch's figures where it is there, and bad arguments."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sixloop import schedules
from sixloop.schedules import Constant, Cosine, Exponential, LinearWarmup, OneCycle, Schedule, Step

ALL = [
    Constant(0.3),
    Step(0.3, every=7, factor=0.5),
    Exponential(0.3, every=20, factor=0.1),
    Cosine(0.3, steps=40, final_lr=0.01),
    OneCycle(0.3, steps=40),
    LinearWarmup(Cosine(0.3, steps=40), steps=8, start_lr=0.02),
]


def wave(a: float, b: float, t: float) -> float:
    return b + (a - b) * (1 + math.cos(math.pi * t)) / 2


FORMULAS = {
    "constant": lambda s: 0.3,
    "step": lambda s: 0.3 * 0.5 ** (s // 7),
    "exponential": lambda s: 0.3 * 0.1 ** (s / 20),
    "cosine": lambda s: wave(0.3, 0.01, min(s, 40) / 40),
    "one_cycle": lambda s: (
        wave(0.3 / 25, 0.3, s / 11) if s <= 11 else wave(0.3, 0.3 / 250_000, (min(s, 39) - 11) / 28)
    ),
    "linear_warmup": lambda s: (
        0.02 + (0.3 - 0.02) * (s + 1) / 8 if s < 8 else wave(0.3, 0, min(s - 8, 40) / 40)
    ),
}


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
def test_formula(schedule: Schedule) -> None:
    for step in range(60):
        assert schedule(step) == pytest.approx(FORMULAS[schedule.name](step), rel=1e-13, abs=1e-16)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
def test_pure_in_the_step(schedule: Schedule) -> None:
    forward = [schedule(step) for step in range(60)]
    backward = [schedule(step) for step in reversed(range(60))]
    assert forward == backward[::-1]
    assert all(type(rate) is float for rate in forward)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
def test_configuration_builds_the_schedule_again(schedule: Schedule) -> None:
    assert schedules.get(json.loads(json.dumps(schedule.config()))) == schedule


def torch_scheduler(schedule: Any, optimizer: Any) -> Any:
    lr_scheduler = pytest.importorskip("torch").optim.lr_scheduler
    if isinstance(schedule, Step):
        return lr_scheduler.StepLR(optimizer, schedule.every, schedule.factor)
    if isinstance(schedule, Exponential):
        return lr_scheduler.ExponentialLR(optimizer, schedule.factor ** (1 / schedule.every))
    if isinstance(schedule, Cosine):
        return lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps, schedule.final_lr)
    return lr_scheduler.OneCycleLR(
        optimizer, schedule.lr, schedule.steps, cycle_momentum=False, final_div_factor=1e4
    )


@pytest.mark.parametrize("schedule", ALL[1:5], ids=lambda s: s.name)
def test_as_in_torch(schedule: Schedule) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    peer = torch_scheduler(schedule, optimizer)
    for step in range(39):
        # torch's recurrences gather a rounding in every step.
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        peer.step()


def test_ends_are_exact() -> None:
    cosine = Cosine(0.1, steps=10, final_lr=0.001)
    assert cosine(0) == 0.1
    assert cosine(10) == cosine(10**9) == 0.001
    one_cycle = OneCycle(0.1, steps=20, rise=0.25)
    assert one_cycle(4) == 0.1
    assert one_cycle(19) == one_cycle(10**9) == pytest.approx(0.1 / 250_000, rel=1e-15)
    assert max(one_cycle(step) for step in range(20)) == 0.1
    warm = LinearWarmup(0.1, steps=4)
    assert [warm(step) for step in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_own_cosine() -> None:
    for i in range(1001):
        assert abs(schedules._cos_pi(i / 1000) - math.cos(math.pi * (i / 1000))) <= 2.0**-51


def test_what_get_takes() -> None:
    assert schedules.get(0.25) == Constant(0.25)
    own = lambda step: 1 / (step + 1)  # noqa: E731
    assert schedules.get(own) is own
    assert LinearWarmup(0.1, steps=2).schedule == Constant(0.1)
    with pytest.raises(ValueError, match="unknown schedule 'poly'; valid names: constant, step, "):
        schedules.get("poly")
    with pytest.raises(TypeError, match="got None"):
        schedules.get(None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), r"\[constant\] expected finite lr >= 0; got -1"),
        (lambda: Step(0.1, every=0), r"\[step\] every must be an integer >= 1; got 0"),
        (lambda: Step(0.1, every=5, factor=0), "factor > 0; got 0"),
        (lambda: Exponential(0.1, every=2.5), "every must be an integer >= 1; got 2.5"),
        (lambda: Cosine(0.1, steps=True), "steps must be an integer >= 1; got True"),
        (lambda: Cosine(math.nan, steps=3), "finite lr >= 0; got nan"),
        (
            lambda: OneCycle(0.1, steps=3),
            "expected 1 < rise . steps < steps; got rise=0.3, steps=3",
        ),
        (lambda: OneCycle(0.1, steps=30, start_divisor=0.5), "start_divisor >= 1; got 0.5"),
        (lambda: LinearWarmup(0.1, steps=-1), "steps must be an integer >= 1; got -1"),
        (lambda: LinearWarmup(0.1, steps=3, start_lr=math.inf), "start_lr >= 0; got inf"),
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
