"""Relays that are killed, producers beside them: nothing lost, no key out of order.

`make prove-outbox` runs it large; DAL_TEST_SEED repeats the choices of a run.
"""

import multiprocessing
import os
import random
import threading
import time
from collections import defaultdict

import storm_worker

ALL = os.environ.get("DAL_TEST_EXACTLY_ONCE") == "all"
MESSAGES, KEYS, PRODUCERS, RELAYS, WINDOW = (10_000, 200, 8, 4, 100) if ALL else (300, 20, 3, 2, 20)
REFUSED = 0.03


def test_nothing_is_lost_or_out_of_order_within_a_key(db, environment, tmp_path, rows, capsys):
    seed = int(os.environ.get("DAL_TEST_SEED") or random.randrange(10**6))
    dice = random.Random(seed)
    path = tmp_path / "sent"
    path.touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["storm_worker"])

    def start():
        process = context.Process(
            target=storm_worker.relay,
            args=(str(path), dict(environment), REFUSED, WINDOW),
            daemon=True,
        )
        process.start()
        return process

    locks = [threading.Lock() for _ in range(KEYS)]
    numbers = [0] * KEYS

    def produce(count):
        for _ in range(count):
            key = dice.randrange(KEYS)
            with locks[key]:  # stands for the row that both would change
                with db.scope():
                    db.outbox.add("t", numbers[key], key=f"k{key}")
                numbers[key] += 1

    relays = [start() for _ in range(RELAYS)]
    producers = [
        threading.Thread(target=produce, args=(MESSAGES // PRODUCERS,)) for _ in range(PRODUCERS)
    ]
    began = time.monotonic()
    for thread in producers:
        thread.start()
    killed = 0
    while rows("id") or any(thread.is_alive() for thread in producers):
        time.sleep(dice.uniform(0.5, 1.5))
        place = dice.randrange(RELAYS)
        relays[place].kill()
        relays[place].join()
        killed += 1
        relays[place] = start()
        assert time.monotonic() - began < (900 if ALL else 60)
    seconds = time.monotonic() - began
    for relay in relays:
        relay.kill()
        relay.join()
    sent = [line.split() for line in path.read_text().splitlines()]
    first = defaultdict(list)
    seen = set()
    for key, number in sent:
        if (key, number) not in seen:
            seen.add((key, number))
            first[key].append(int(number))
    with capsys.disabled():
        print(  # noqa: T201
            f"\noutbox: seed {seed}, {len(seen)} messages, {RELAYS} relays killed {killed} times, "
            f"{len(sent) - len(seen)} sent again, {len(seen) / seconds:.0f} a second"
        )
    assert first == {f"k{key}": list(range(count)) for key, count in enumerate(numbers) if count}
    assert killed > 0
