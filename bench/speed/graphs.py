"""CUDA graphs: the kernels of a step, recorded once and replayed without the host."""

from collections.abc import Callable
from typing import Any

import torch

WARM_UP = 3  # eager runs before a capture


def lacks_memory(error: BaseException | None) -> bool:
    """Whether memory ended; the end of a broken capture raises once more, over the error that broke it."""
    return error is not None and (isinstance(error, torch.OutOfMemoryError) or lacks_memory(error.__context__))


def graph_of(step: Callable[[], Any]) -> Callable[[], Any]:
    """The step's kernels as a CUDA graph; the result lies in the same memory after every replay."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Any:
        graph.replay()
        return result

    return replay
