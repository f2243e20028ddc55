"""What code a request touches: `./build.sh bench steps`.

The same listeners as in request.py, but those whose work is in a second process. A debugger (ptrace) takes requests through
Envoy's worker instruction by instruction and notes where each stands. Unlike CPU time that hardly depends on what else a machine
does: how many instructions, on how many cache lines (64 bytes) and pages (4 KB), and how much of it is code that was made at
run time, which is what V8 makes of a wasm module. What the kernel does isn't seen. x86-64 only.
"""

import ctypes
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import peers
from peers import ANSWERED, AS_MODULE, AUTHZ, CONTROL, NONE, PROC, UNITED_STATES
from register import secret
from request import ALL, LIMITS, judged

WARM_UP = 600  # requests, of the customers that are stepped too; V8 has compiled all by then, and the allocators are in their stride
STEPPED = int(os.environ.get("STEPPED", "7"))  # requests, each of another customer: the median counts
SETTLED = 0.3  # seconds without anything to do
SEIZE, INTERRUPT, CONTINUE, SINGLE_STEP, PEEK_USER, DETACH = 0x4206, 0x4207, 7, 9, 3, 17  # ptrace(2)
INSTRUCTION_POINTER = 16 * 8  # in struct user_regs_struct
ANY_CHILD = 0x40000000  # waitpid(2): __WALL

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype, libc.ptrace.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def main():
    if platform.machine() != "x86_64":
        sys.exit("steps: x86-64 only")
    names = [name for name in ALL if name not in (AUTHZ, PROC)]
    print(f"{'':18}{'instructions':>13}{'added':>9}{'lines':>7}{'pages':>7}   made at run time:{'instructions':>13}{'lines':>7}{'pages':>7}")
    with tempfile.TemporaryDirectory() as folder, peers.Peers(Path(folder)) as setting, setting.envoy(names) as (envoy, ports):
        measured = {name: stepped(envoy.process.pid, ports[name]) for name in names}
    instructions = {name: statistics.median(len(whole) for whole, _ in each) for name, each in measured.items()}
    none = (instructions[NONE] + instructions[CONTROL]) / 2
    added = {name: count - none for name, count in instructions.items()}
    for name, each in measured.items():
        middle, made = sorted(each, key=lambda pair: len(pair[0]))[len(each) // 2]
        print(f"{name:18}{len(middle):13,}{len(middle) - none:9,.0f}{touched(middle)}                    {len(made):13,}{touched(made)}")
    control = abs(instructions[NONE] - instructions[CONTROL])
    print(f"the median of {STEPPED} requests; no filter against no filter: {control:,.0f} instructions, {control / added[AS_MODULE]:.1%} of what the module adds")
    for name, limit, kind in LIMITS:
        if name in added:
            ratio = added[AS_MODULE] / added[name]
            print(f"the module adds, against {name}: {ratio:.2f}, at most {limit:.2f} ({kind}): {judged(ratio, limit, control > added[AS_MODULE] / 10)}")


def stepped(pid, port):
    """The addresses of some requests, and those of them whose code was made at run time, each request of another customer."""
    customers = peers.hot()[:STEPPED]
    found = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for turn in range(WARM_UP):
            ask(connection, customers[turn % STEPPED])
        for customer in customers:
            time.sleep(SETTLED)
            addresses = step_through(worker(pid), lambda c=customer: ask(connection, c))
            code = compiled(pid)
            found.append((addresses, [each for each in addresses if any(begin <= each < end for begin, end in code)]))
    return found


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


def step_through(thread, send):
    """The address of each instruction that a thread executes until it has nothing left to do."""
    ptrace(SEIZE, thread)
    ptrace(INTERRUPT, thread)
    os.waitpid(thread, ANY_CHILD)
    done = threading.Event()

    def client():
        send()
        time.sleep(SETTLED)
        done.set()

    addresses = []
    ptrace(SINGLE_STEP, thread)
    threading.Thread(target=client).start()
    while not done.is_set():
        if os.waitpid(thread, ANY_CHILD | os.WNOHANG)[0]:
            addresses.append(ptrace(PEEK_USER, thread, INSTRUCTION_POINTER))
            ptrace(SINGLE_STEP, thread)
    ptrace(INTERRUPT, thread)
    os.waitpid(thread, ANY_CHILD)
    ptrace(CONTINUE, thread)
    time.sleep(SETTLED)
    while os.waitpid(thread, ANY_CHILD | os.WNOHANG)[0]:
        ptrace(CONTINUE, thread)  # the trap of the last step comes only now; left to itself it would end Envoy
    ptrace(INTERRUPT, thread)
    os.waitpid(thread, ANY_CHILD)
    ptrace(DETACH, thread)
    return addresses


def ptrace(what, thread, where=None):
    answer = libc.ptrace(what, thread, where, None)
    if answer == -1 and what != PEEK_USER:
        sys.exit(f"steps: the system lets nobody trace Envoy: {os.strerror(ctypes.get_errno())}")
    return answer


if __name__ == "__main__":
    main()
