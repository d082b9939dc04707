"""Admission control: who is let in, who is refused, what a refusal says, and that the counts add up."""

import threading
import time
from dataclasses import asdict

import pytest

from navigator.admission import Admission, Counts, Overloaded


@pytest.fixture
def gate():
    """One worker that works until the gate opens, room for two more."""
    opened, begun = threading.Event(), threading.Semaphore(0)

    def work(asked: str) -> str:
        begun.release()
        assert opened.wait(5)
        if asked == "bad":
            raise ValueError(asked)
        return asked.upper()

    admission = Admission(work, workers=1, waiting=2)
    yield admission, opened, begun
    opened.set()
    admission.close()


def test_a_worker_and_the_waiting_room_are_filled_and_the_next_is_refused_at_once(gate):
    admission, opened, begun = gate
    let_in = [admission.submit(word) for word in ("a", "b", "c")]
    assert begun.acquire(timeout=5)
    with pytest.raises(Overloaded) as refused:
        admission.submit("d")
    assert refused.value.waiting == 2 and "2 requests are waiting" in str(refused.value)
    assert admission.counts() == Counts(received=4, refused=1, inside=3)
    time.sleep(0.05)
    opened.set()
    served = [future.result(5) for future in let_in]
    assert [s.answer for s in served] == ["A", "B", "C"]
    first, *rest = served
    assert first.work_s > 0.05 > first.queue_s and all(s.queue_s > 0.05 > s.work_s for s in rest)
    admission.close()
    assert admission.counts() == Counts(received=4, refused=1, answered=3)


def test_cancelling_one_that_waits_makes_room_and_it_is_never_worked_on(gate):
    admission, opened, begun = gate
    admission.submit("a")
    assert begun.acquire(timeout=5)
    leaving = admission.submit("b")
    admission.submit("c")
    assert leaving.cancel()
    last = admission.submit("d")
    opened.set()
    assert last.result(5).answer == "D"
    admission.close()
    assert admission.counts() == Counts(received=4, answered=3, abandoned=1)
    assert [begun.acquire(blocking=False) for _ in range(3)] == [True, True, False]  # c and d, and never b


def test_work_that_fails_is_counted_and_leaves_its_place(gate):
    admission, opened, _ = gate
    opened.set()
    with pytest.raises(ValueError, match="bad"):
        admission.submit("bad").result(5)
    assert admission.submit("good").result(5).answer == "GOOD"
    admission.close()
    assert admission.counts() == Counts(received=2, answered=1, failed=1)


def test_retry_after_is_the_time_that_those_ahead_will_take(gate):
    admission, opened, begun = gate
    opened.set()
    admission.submit("first").result(5)
    assert begun.acquire(timeout=5)
    admission._mean_work_s = 0.5
    opened.clear()
    for word in ("a", "b", "c"):
        admission.submit(word)
    assert begun.acquire(timeout=5)
    with pytest.raises(Overloaded) as refused:
        admission.submit("d")
    assert refused.value.retry_after_s == pytest.approx(3 * 0.5)


def test_many_threads_at_once_lose_nothing():
    admission = Admission(lambda asked: asked, workers=4, waiting=8)
    refused = []

    def ask() -> None:
        for n in range(200):
            try:
                admission.submit(n)
            except Overloaded:
                refused.append(n)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    admission._pool.shutdown(wait=True)
    counts = asdict(admission.counts())
    assert counts["received"] == 800 and counts["refused"] == len(refused) and counts["inside"] == 0
    assert counts["received"] == counts["refused"] + counts["answered"]


@pytest.mark.parametrize(("workers", "waiting"), [(0, 1), (1, -1)])
def test_sizes_that_make_no_sense(workers, waiting):
    with pytest.raises(ValueError, match=f"workers {workers}, waiting {waiting}"):
        Admission(str, workers, waiting)


def test_counts_since():
    assert Counts(5, 1, 3, inside=1).since(Counts(2, 1, 1)) == Counts(3, 0, 2, inside=1)
