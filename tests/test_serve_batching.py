"""Requests answered in batches: who is answered with whom, who is refused, and that nobody suffers for another."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager

import pytest

from navigator.admission import Overloaded
from navigator.serve.batching import Batcher, Closing, DeadlinePassed

SOON = 10.0  # nothing takes so long; a test that hangs ends


class Gated:
    """Doubles numbers, a batch at a time; work waits at a gate, so that a test decides what gathers behind it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.gate = threading.Semaphore(0), threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asked))
        self.begun.release()
        assert self.gate.wait(SOON)
        return [2 * one for one in asked]


@contextmanager
def batching(work: Callable, size: int = 4, window_s: float = 0.0, waiting: int = 8, **more) -> Iterator[Batcher]:
    batcher = Batcher(work, size, window_s, waiting, **more)
    try:
        yield batcher
    finally:
        if isinstance(work, Gated):
            work.gate.set()
        batcher.close(SOON)


def held(batcher: Batcher, work: Gated, asked: Sequence[int]) -> list[Future]:
    """The first is worked on, the others wait behind it."""
    first = batcher.submit(asked[0])
    assert work.begun.acquire(timeout=SOON)
    return [first, *(batcher.submit(one) for one in asked[1:])]


def test_what_gathers_while_the_worker_is_busy_is_one_batch_in_the_order_of_arrival():
    work = Gated()
    with batching(work) as batcher:
        futures = held(batcher, work, [1, 2, 3, 4, 5, 6])
        assert batcher.depth == 5
        work.gate.set()
        assert [future.result(SOON).answer for future in futures] == [2, 4, 6, 8, 10, 12]
    assert work.batches == [[1], [2, 3, 4, 5], [6]]  # at most four, and none waits to be joined


def test_each_answer_says_how_long_it_waited_and_how_long_its_batch_was_worked_on():
    work, sizes = Gated(), []
    with batching(work, observe=lambda size, seconds: sizes.append((size, seconds))) as batcher:
        futures = held(batcher, work, [1, 2, 3])
        time.sleep(0.05)
        work.gate.set()
        first, second, third = (future.result(SOON) for future in futures)
    assert first.work_s >= 0.05 > first.queue_s and second.queue_s >= 0.05
    assert second.work_s == third.work_s
    assert [size for size, _ in sizes] == [1, 2] and sizes[1][1] == second.work_s


def test_an_idle_worker_waits_the_window_for_others_but_not_when_the_batch_is_full():
    work = Gated()
    work.gate.set()
    with batching(work, size=3, window_s=60.0) as batcher:
        futures = [batcher.submit(one) for one in (1, 2, 3)]  # long before the window ends
        assert [future.result(SOON).answer for future in futures] == [2, 4, 6]
    assert work.batches == [[1, 2, 3]]


def test_the_window_is_counted_from_the_oldest():
    work = Gated()
    work.gate.set()
    with batching(work, size=3, window_s=0.2) as batcher:
        begun = time.monotonic()
        early = batcher.submit(1)
        time.sleep(0.1)
        late = batcher.submit(2)
        assert early.result(SOON).queue_s >= 0.2 > late.result(SOON).queue_s
        assert time.monotonic() - begun < 5
    assert work.batches == [[1, 2]]


def test_a_full_line_refuses_at_once_and_says_when_to_come_back():
    work = Gated()
    with batching(work, size=2, waiting=3) as batcher:
        futures = held(batcher, work, [1, 2, 3, 4])
        with pytest.raises(Overloaded) as refused:
            batcher.submit(5)
        assert (
            refused.value.waiting == 3 and refused.value.retry_after_s == 0.0
        )  # no batch is done, so no pace is known
        time.sleep(0.05)
        work.gate.set()
        assert [future.result(SOON).answer for future in futures] == [2, 4, 6, 8]
        work.gate.clear()
        work.begun = threading.Semaphore(0)
        held(batcher, work, [6, 7, 8, 9])
        with pytest.raises(Overloaded) as refused:
            batcher.submit(10)
        assert refused.value.retry_after_s > 0.05  # two batches are ahead, and the first took so long
    assert [5] not in work.batches and all(10 not in batch for batch in work.batches)


def test_whoever_gave_up_makes_room_and_is_not_worked_on():
    work = Gated()
    with batching(work, waiting=2) as batcher:
        futures = held(batcher, work, [1, 2, 3])
        assert futures[1].cancel()
        futures.append(batcher.submit(4))  # in the room of 2
        work.gate.set()
        assert [futures[n].result(SOON).answer for n in (0, 2, 3)] == [2, 6, 8]
        with pytest.raises(CancelledError):
            futures[1].result(SOON)
    assert work.batches == [[1], [3, 4]]


def test_a_request_whose_deadline_passes_in_the_line_is_told_so_and_not_worked_on():
    work = Gated()
    with batching(work, waiting=2) as batcher:
        first = held(batcher, work, [1])[0]
        late, other = batcher.submit(2, time.monotonic() + 0.02), batcher.submit(3)
        time.sleep(0.05)
        work.gate.set()
        assert first.result(SOON).answer == 2 and other.result(SOON).answer == 6
        with pytest.raises(DeadlinePassed):
            late.result(SOON)
    assert work.batches == [[1], [3]]


def test_a_late_request_makes_room_in_a_full_line():
    work = Gated()
    with batching(work, waiting=1) as batcher:
        held(batcher, work, [1])
        late = batcher.submit(2, time.monotonic() + 0.02)
        time.sleep(0.05)
        other = batcher.submit(3)
        with pytest.raises(DeadlinePassed):
            late.result(SOON)
        work.gate.set()
        assert other.result(SOON).answer == 6


def test_an_exception_in_an_answers_place_is_that_requests_alone():
    with batching(lambda asked: [ValueError(one) if one == 2 else one for one in asked]) as batcher:
        futures = [batcher.submit(one) for one in (1, 2, 3)]
        assert futures[0].result(SOON).answer == 1 and futures[2].result(SOON).answer == 3
        with pytest.raises(ValueError, match="2"):
            futures[1].result(SOON)


@pytest.mark.parametrize("wrong", ["raises", "forgets"])
def test_work_that_fails_on_a_batch_is_tried_one_by_one(wrong: str):
    """One poisonous request must not take the others with it, nor the worker."""
    gate, begun = threading.Event(), threading.Event()

    def work(asked: Sequence[int]) -> list[int]:
        begun.set()
        assert gate.wait(SOON)
        if 13 in asked and wrong == "raises":
            raise RuntimeError("poison")
        return [one for one in asked if one != 13]

    with batching(work) as batcher:
        first = batcher.submit(0)
        assert begun.wait(SOON)
        futures = [batcher.submit(one) for one in (1, 13, 2)]
        gate.set()
        assert [future.result(SOON).answer for future in (first, futures[0], futures[2])] == [0, 1, 2]
        with pytest.raises(RuntimeError):
            futures[1].result(SOON)
        assert batcher.submit(4).result(SOON).answer == 4  # the worker lives


def test_closing_takes_no_more_and_answers_those_who_wait():
    work = Gated()
    with batching(work, size=2, window_s=60.0) as batcher:
        futures = [batcher.submit(one) for one in (1, 2)]
        assert work.begun.acquire(timeout=SOON)
        futures.append(batcher.submit(3))  # alone, in the middle of its window
        closing = threading.Thread(target=batcher.close, args=(SOON,))
        closing.start()
        while not batcher._closing:
            time.sleep(0.001)
        with pytest.raises(Closing):
            batcher.submit(4)
        assert closing.is_alive()
        work.gate.set()
        closing.join(SOON)
        assert not closing.is_alive() and [future.result(0).answer for future in futures] == [2, 4, 6]


def test_many_callers_at_once_each_get_their_own_answer():
    with batching(lambda asked: [2 * one for one in asked], size=16, waiting=10_000) as batcher:
        answers: dict[int, int] = {}

        def call(start: int) -> None:
            for one in range(start, start + 200):
                answers[one] = batcher.submit(one).result(SOON).answer

        callers = [threading.Thread(target=call, args=(1000 * n,)) for n in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(SOON)
    assert len(answers) == 1600 and all(answer == 2 * one for one, answer in answers.items())


@pytest.mark.parametrize("wrong", [{"size": 0}, {"window_s": -1.0}, {"waiting": 0}])
def test_a_batcher_that_could_answer_nobody_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="allowed"):
        Batcher(**{"work": list, "size": 1, "window_s": 0.0, "waiting": 1} | wrong)  # type: ignore[arg-type]
