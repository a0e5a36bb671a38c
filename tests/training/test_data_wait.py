"""Waiting for data is told from waiting for the launch queue."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from jal_hf.training.callbacks import ThroughputCallback
from jal_hf.training.data_wait import Fetch


@dataclass
class Device:
    """A GPU whose queued work ends at a time; an event is passed when all work queued before it is done."""

    busy_until: float = 0.0

    def event(self) -> Event:
        return Event(self)


@dataclass
class Event:
    device: Device
    passed_at: float = 0.0

    def record(self) -> None:
        self.passed_at = max(time.perf_counter(), self.device.busy_until)

    def query(self) -> bool:
        return time.perf_counter() >= self.passed_at

    def synchronize(self) -> None:
        time.sleep(max(0.0, self.passed_at - time.perf_counter()))

    def elapsed_time(self, other: Event) -> float:
        return 1000.0 * (other.passed_at - self.passed_at)


def fetched(device: Device, seconds: float) -> Fetch:
    fetch = Fetch(device.event)
    time.sleep(seconds)
    return fetch.end()


def test_host_in_the_loader_while_the_gpu_works_waits_for_no_data() -> None:
    device = Device(busy_until=time.perf_counter() + 0.2)
    assert fetched(device, 0.05).seconds() == pytest.approx(0.0, abs=1e-6)


def test_idle_gpu_waits_for_as_long_as_the_host_fetches() -> None:
    assert fetched(Device(), 0.05).seconds() == pytest.approx(0.05, rel=0.5)


def test_gpu_that_runs_dry_within_the_fetch_waits_for_the_rest() -> None:
    device = Device(busy_until=time.perf_counter() + 0.05)
    assert 0.03 < fetched(device, 0.1).seconds() < 0.09


def test_share_counts_the_fetches_of_measured_steps_alone() -> None:
    device, clock = Device(), ThroughputCallback(warmup_steps=1)
    clock.on_train_begin()
    for wait in (0.05, 0.05, 0.0):  # the first step warms up, before the third stands an evaluation
        clock.add(fetched(device, wait))
        clock.on_step_end()
    assert clock.steps == 2
    assert clock.wait_share == pytest.approx(0.05 / clock.seconds, rel=0.3)
    clock.add(fetched(device, 0.2))
    clock.on_evaluate()
    clock.on_step_end()
    assert clock.wait_share < 1.0
