"""The yardstick's part in Python: calls through concurrent.futures.ProcessPoolExecutor.

Its argument is a JSON object. It prints {"pids": [...]} when the workers are there, waits for a line on its standard
input, works, prints what it has found, and ends when its input does.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

TEXT = "hello"


def echo(value):
    return value


def pid_after_others(barrier):
    """Keeps its worker until all workers have such a call."""
    barrier.wait()
    return os.getpid()


def percentile(values, p):
    return sorted(values)[int(p / 100 * (len(values) - 1))]


class Caller(threading.Thread):
    def __init__(self, pool, job):
        super().__init__()
        self.pool, self.job, self.latencies, self.until = pool, job, [], 0
        self.value = b"x" * job["size"] if job["size"] else TEXT

    def call(self):
        if self.pool.submit(echo, self.value).result() != self.value:
            raise ValueError("a wrong echo")

    def run(self):
        begin = next_call = time.perf_counter()
        while len(self.latencies) < 3 or begin < self.until:
            self.call()
            end = time.perf_counter()
            self.latencies.append(end - begin)
            begin = end
            if self.job["every"]:
                next_call += self.job["every"]
                time.sleep(max(0, next_call - end))
                begin = time.perf_counter()


def load(job):
    import multiprocessing

    with multiprocessing.Manager() as manager, ProcessPoolExecutor(job["workers"]) as pool:
        barrier = manager.Barrier(job["workers"])
        pids = [f.result() for f in [pool.submit(pid_after_others, barrier) for _ in range(job["workers"])]]
        callers = [Caller(pool, job) for _ in range(job["callers"])]
        for _ in range(2 if job["size"] else 50):
            callers[0].call()
        say({"pids": [os.getpid()] + pids})
        sys.stdin.readline()
        start = time.perf_counter()
        for caller in callers:
            caller.until = start + job["seconds"]
            caller.start()
        for caller in callers:
            caller.join()
        took = time.perf_counter() - start
        say({"seconds": took, "latencies": [s for c in callers for s in c.latencies]})
        sys.stdin.readline()


def start(job):
    samples = []
    for _ in range(job["samples"]):
        begin = time.perf_counter()
        with ProcessPoolExecutor(1) as pool:
            pool.submit(echo, TEXT).result()
            samples.append(time.perf_counter() - begin)
    say({"latencies": samples})


def say(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    if job["samples"]:
        start(job)
    else:
        load(job)
