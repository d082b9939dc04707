"""The command `navigator-bench cutover`: do promotions and rollbacks break a single answer of a running server?"""

from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError


def cutover(
    releases: Path, name: str, url: str = "http://127.0.0.1:8000", shadow: Path | None = None, requests: int = 1000,
    clients: int = 8, times: int = 3, questions: int = 48, key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Ask a running server without a pause while a release is promoted and rolled back, and check every answer.

    First every question is asked while the live release answers alone, and again while the other does; those that both
    answer alike are left out, because they would not show a mixed answer. Then the clients ask while the other release is
    promoted and rolled back several times. Every answer must come, name its release alike in its header and in its body,
    and say what that release said alone. The release that was live at the start is live at the end.

    Args:
        releases: the folder that the server follows (navigator serve --releases).
        name: the other release.
        url: of the server.
        shadow: passing shadow report of the live release against it; without one it is promoted by force, for this test.
        requests: at least that many; the clients go on until the server has followed the last rollback.
        clients: that ask at once.
        times: promotions, each with its rollback.
        questions: different ones.
        key: an API key with the scopes search and admin, where the server asks for one.

    Returns:
        questions, and those that were answered alike and left out; requests, how many failed, were misnamed or mixed (with
        examples; any makes exit_code 1), answers by release, seconds from each switch until the server followed, latencies
        while it opened a release and otherwise.

    Raises:
        UserError: the server does not answer, does not follow these releases, or both releases answer everything alike.
    """
    least = {"requests": requests, "clients": clients, "times": times, "questions": questions}
    low = next((option for option, value in least.items() if value < 1), None)
    if low is not None:
        raise UserError(f"{low} is {least[low]}; allowed are whole numbers from 1")
    from bench.cutover.run import run_cutover

    return run_cutover(releases, name, url, shadow, requests, clients, times, questions, key)
