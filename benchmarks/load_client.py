"""Sends requests when they are due and prints how long each took; benchmarks/load.py runs it in another environment.

    python benchmarks/load_client.py ROOT RATE SECONDS    (addresses with parameters as JSON on standard input)

Prints {"taken": {address: [seconds from the moment it was due, ..]}, "errors": {what: how many}}.
"""

import asyncio
import importlib
import itertools
import json
import sys
import time
from collections import Counter, defaultdict

# not a dependency of this project, so no name that a type checker should know; it takes a fifth of httpx's time
aiohttp = importlib.import_module("aiohttp")


async def load(root: str, asked: list[list], rate: float, seconds: float) -> dict:
    """Ask in turn, each when it is due, whether or not earlier ones are answered."""
    taken: dict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session, asyncio.TaskGroup() as group:

        async def one(address: str, params: dict[str, str], due: float) -> None:
            try:
                async with session.get(root + address, params=params) as answer:
                    await answer.read()
                    if answer.status != 200:
                        errors[f"{answer.status} from {address}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                errors[f"{type(error).__name__} from {address}"] += 1
            taken[address].append(time.perf_counter() - due)

        began = time.perf_counter()
        for number, (address, params) in enumerate(itertools.cycle(asked)):
            due = began + number / rate
            if due >= began + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(address, params, due))
    return {"taken": taken, "errors": errors}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], json.load(sys.stdin), float(sys.argv[2]), float(sys.argv[3])))))
