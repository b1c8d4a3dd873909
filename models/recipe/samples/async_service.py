"""Tasks that fail under asyncio's debug mode: python3 -X dev async_service.py"""

import asyncio
import logging


async def work(i):
    await asyncio.sleep(0.01 * (i % 3))
    if i % 4 == 3:
        raise ValueError(f"worker {i} got an unexpected frame")
    await asyncio.open_connection("127.0.0.1", 5 + i)


async def main():
    for result in await asyncio.gather(*[work(i) for i in range(24)], return_exceptions=True):
        logging.error("task failed: %r", result)
    asyncio.create_task(work(3))
    await asyncio.sleep(0.1)


logging.basicConfig(level=10, format="%(asctime)s %(levelname)s %(name)s %(message)s")
asyncio.run(main(), debug=True)
