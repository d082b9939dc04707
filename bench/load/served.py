"""A minimal server in a process of its own, so that the generator has something real to load: `python -m bench.load.served`.

It is no product: one route, no batching, no sessions. What a product needs of it is in navigator.admission. The first line of
its input is a `Serving` as JSON, the first line of its output the port or an error; it ends when its input does, so it cannot
outlive the bench that started it.
"""

import asyncio
import json
import math
import sys
from dataclasses import asdict

from aiohttp import web

from bench.load.answers import BadRequest, Serving, open_answers
from navigator.admission import Admission, Overloaded
from navigator.contracts.errors import UserError

RANK, COUNTS = "/v1/rank", "/counts"


def application(admission: Admission[bytes, bytes]) -> web.Application:
    """POST RANK answers, waits or refuses with 429; GET COUNTS tells what became of the requests."""

    async def rank(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            served = await asyncio.wrap_future(admission.submit(body))
        except Overloaded as full:
            return _problem(429, "overloaded", str(full), {"Retry-After": str(max(1, math.ceil(full.retry_after_s)))})
        except BadRequest as bad:
            return _problem(400, "bad_request", str(bad), {})
        timing = f"queue;dur={served.queue_s * 1000:.3f}, work;dur={served.work_s * 1000:.3f}"
        return web.Response(body=served.answer, content_type="application/json", headers={"Server-Timing": timing})

    async def counts(request: web.Request) -> web.Response:
        return web.json_response(asdict(admission.counts()))

    app = web.Application()
    app.add_routes([web.post(RANK, rank), web.get(COUNTS, counts)])
    return app


def _problem(status: int, kind: str, message: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"error": {"type": kind, "message": message}}, status=status, headers=headers)


async def serve(serving: Serving) -> None:
    """Serve on a free port of the loopback interface until the input ends."""
    admission = Admission(open_answers(serving), serving.workers, serving.waiting)
    runner = web.AppRunner(application(admission), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()
    admission.close()


def main() -> int:
    """Exit code 2 after bad input, which the output then names."""
    serving = Serving(**json.loads(sys.stdin.readline()))
    try:
        asyncio.run(serve(serving))
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
