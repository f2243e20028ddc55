"""What code a request touches: `./build.sh bench steps`.

The same listeners as in request.py, but those whose work is in a second process. A debugger (ptrace) takes requests through
Envoy's worker instruction by instruction and notes where each stands. Unlike CPU time that hardly depends on what else a machine
does: how many instructions, on how many cache lines (64 bytes) and pages (4 KB), and how much of it is code that was made at
run time, which is what V8 makes of a wasm module. What the kernel does isn't seen. x86-64 only.
"""

import ctypes
import itertools
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import peers
from peers import ANSWERED, AS_MODULE, AUTHZ, CONTROL, NONE, PROC, UNITED_STATES
from register import secret
from request import ALL, LIMITS, judged

WARM_UP = 600  # requests, of the customers that are stepped too; V8 has compiled all by then, and the allocators are in their stride
ENVOYS = int(os.environ.get("ENVOYS", "3"))  # for each listener: addresses are random, and with them how full hash tables are
STEPPED = 3  # requests with each of them, each of another customer
SETTLED = 0.3  # seconds without anything to do
TICK = 0.1  # seconds between the ticks of a wasm filter
SEIZE, INTERRUPT, CONTINUE, SINGLE_STEP, PEEK_USER, DETACH = 0x4206, 0x4207, 7, 9, 3, 17  # ptrace(2)
INSTRUCTION_POINTER, SYSTEM_CALL = 16 * 8, 15 * 8  # in struct user_regs_struct
EPOLL_WAITS = {232, 281}  # epoll_wait(2), epoll_pwait(2)
SYSCALL = 2  # bytes of that instruction
ANY_CHILD = 0x40000000  # waitpid(2): __WALL

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype, libc.ptrace.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def main():
    if platform.machine() != "x86_64":
        sys.exit("steps: x86-64 only")
    names = [name for name in ALL if name not in (AUTHZ, PROC)]
    measured = {}
    with tempfile.TemporaryDirectory() as folder, peers.Peers(Path(folder)) as setting:
        for name in names:  # alone, so that no other's timers come due
            print(f"stepping through {name}", file=sys.stderr, flush=True)
            measured[name] = []
            for _ in range(ENVOYS):
                with setting.envoy([name]) as (envoy, ports):
                    measured[name] += stepped(envoy.process.pid, ports[name])
            print(f"  {[request.count for request in measured[name]]}", file=sys.stderr, flush=True)
    print(report(measured))


def report(measured):
    """The least of each listener's requests, and what the module adds against what others add.

    What an allocator or a timer does beside a request only adds to it, and so does a full hash table: in nine requests of three
    Envoys a listener without a filter took 126,000 to 154,000 instructions, and the least of nine came again within 0.1 %.
    """
    least = {name: min(requests, key=lambda request: request.count) for name, requests in measured.items()}
    none = (least[NONE].count + least[CONTROL].count) / 2
    added = {name: request.count - none for name, request in least.items()}
    control = abs(least[NONE].count - least[CONTROL].count)
    lines = [f"{'':18}{'instructions':>13}{'added':>9}{'lines':>7}{'pages':>7}   made at run time:{'instructions':>13}{'lines':>7}{'pages':>7}"]
    for name, request in least.items():
        lines.append(f"{name:18}{request.count:13,}{added[name]:9,.0f}{touched(request.all)}{'':20}{len(request.made):13,}{touched(request.made)}")
    lines.append(f"the least of {ENVOYS} x {STEPPED} requests; no filter against no filter: {control:,.0f}, {control / added[AS_MODULE]:.1%} of what the module adds")
    for name, limit, kind in LIMITS:
        if name in added:
            ratio = added[AS_MODULE] / added[name]
            lines.append(f"the module adds, against {name}: {ratio:.2f}, at most {limit:.2f} ({kind}): {judged(ratio, limit, control > added[AS_MODULE] / 10)}")
    return "\n".join(lines)


@dataclass
class Stepped:
    """The addresses of a request's instructions; of those whose code was made at run time; how many they are without timers."""

    all: list
    made: list
    count: int


def stepped(pid, port):
    """Some requests, each of another customer."""
    thread, customers = worker(pid), peers.hot()[:STEPPED]
    for each in (0, thread):  # on one CPU a step wakes no other, and what the allocator keeps for that CPU is warm
        os.sched_setaffinity(each, {max(os.sched_getaffinity(0))})

    def wake():
        socket.create_connection(("127.0.0.1", port)).close()

    found = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for turn in range(WARM_UP):
            ask(connection, customers[turn % STEPPED])
        idle = timers(*step_through(thread, lambda: time.sleep(3 * TICK), wake))
        for customer in customers:
            addresses, _ = step_through(thread, lambda c=customer: ask(connection, c), wake)
            code = compiled(pid)
            made = [each for each in addresses if any(begin <= each < end for begin, end in code)]
            found.append(Stepped(addresses, made, len(addresses) - idle))
    return found


def timers(addresses, waits):
    """What a thread executes between two waits while it has nothing to do. That comes due once while a request is stepped."""
    ends = [number for number, address in enumerate(addresses) if address in waits]
    return max((after - before for before, after in itertools.pairwise(ends)), default=0)


def touched(addresses):
    lines, pages = {each >> 6 for each in addresses}, {each >> 12 for each in addresses}
    return f"{len(lines):7,}{len(pages):7,}"


def ask(connection, customer):
    """One request, until its answer ends with its body."""
    connection.sendall(peers.request(ANSWERED, secret(customer), UNITED_STATES))
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length(answer):
        answer += connection.recv(1 << 16)
    if not answer.startswith(b"HTTP/1.1 200 "):
        sys.exit(f"steps: a request wasn't let through: {answer}")


def length(answer):
    headers = (line.partition(b":") for line in answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"))
    return next(int(value) for name, _, value in headers if name == b"content-length")


def worker(pid):
    [thread] = [each for each in Path(f"/proc/{pid}/task").iterdir() if (each / "comm").read_text().startswith("wrk:")]
    return int(thread.name)


def compiled(pid):
    """Where code is that was made at run time: executable, and of no file."""
    maps = (line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
    return [tuple(int(end, 16) for end in fields[0].split("-")) for fields in maps if "x" in fields[1] and len(fields) == 5]


def step_through(thread, send, wake):
    """The address of each instruction that a thread executes for a request, and those at which it waits for events.

    That is all until the thread waits again, with the answer sent. A step out of a wait ends when the wait does: `wake` sees to it.
    """
    ptrace(SEIZE, thread)
    while True:
        time.sleep(SETTLED)
        ptrace(INTERRUPT, thread)
        os.waitpid(thread, ANY_CHILD)
        if ptrace(PEEK_USER, thread, SYSTEM_CALL) in EPOLL_WAITS:
            break
        ptrace(CONTINUE, thread)
    waits = ptrace(PEEK_USER, thread, INSTRUCTION_POINTER)  # at the call that waits, or behind it
    waits = {waits, waits + SYSCALL}
    answered = threading.Event()

    def client():
        send()
        answered.set()
        time.sleep(SETTLED)
        wake()

    threading.Thread(target=client).start()
    addresses = []
    while not (answered.is_set() and addresses[-1] in waits):
        ptrace(SINGLE_STEP, thread)
        os.waitpid(thread, ANY_CHILD)
        addresses.append(ptrace(PEEK_USER, thread, INSTRUCTION_POINTER))
    ptrace(DETACH, thread)
    return addresses, waits


def ptrace(what, thread, where=None):
    answer = libc.ptrace(what, thread, where, None)
    if answer == -1 and what != PEEK_USER:
        sys.exit(f"steps: the system lets nobody trace Envoy: {os.strerror(ctypes.get_errno())}")
    return answer


if __name__ == "__main__":
    main()
