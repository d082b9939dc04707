"""One release's conversations: turns are planned in a line of their own and said in one continuous batch.

The batch has a thread that holds the model, so it has to be ended when the release is replaced. Whoever talks holds the
release until the answer is whole; the last one to leave a replaced release ends it.
"""

import threading
import time

from navigator.assistant.assistant import Assistant, Plan, Retrieval
from navigator.assistant.batch import ContinuousBatch
from navigator.assistant.conversation import Turn
from navigator.serve.engine import Engine
from navigator.serve.options import ServeOptions

PLANS_WAITING = 256


class Talk:
    """The assistant of one engine.

    Attributes:
        engine: whose model talks.
        assistant: plans turns; `batch`: says them.
    """

    def __init__(self, engine: Engine, options: ServeOptions):
        recommender = engine.pipeline.recommender
        pictures = None if engine.encoder is None else engine.picture_vectors
        self.engine, self.assistant = engine, Assistant(engine.pipeline, pictures)
        self.batch = ContinuousBatch(
            recommender.model, recommender.processor, options.chat_rows, waiting=options.chat_queue
        )
        self._lock, self._inside, self._replaced = threading.Lock(), 0, False

    def plan(self, turns: tuple[Turn, ...], retrieval: Retrieval) -> Plan:
        """See Assistant.plan; its time is told as stages."""
        begun = time.perf_counter()
        plan = self.assistant.plan(turns, retrieval)
        spent = round((time.perf_counter() - begun) * 1000, 3)
        plan.timings_ms["plan"] = round(max(0.0, spent - sum(plan.timings_ms.values())), 3)
        return plan

    def enter(self) -> bool:
        """Keep the batch running until `leave`; False where another release answers by now."""
        with self._lock:
            if not self._replaced:
                self._inside += 1
            return not self._replaced

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            last = self._replaced and not self._inside
        if last:
            self._end()

    def replaced(self) -> None:
        """Another release answers from now on."""
        with self._lock:
            self._replaced = True
            empty = not self._inside
        if empty:
            self._end()

    def _end(self) -> None:
        threading.Thread(target=self.batch.close, name="end-of-release", daemon=True).start()
