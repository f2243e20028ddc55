"""What code a request touches: `./build.sh bench steps`.

The same listeners as in request.py. A debugger (ptrace) takes one request through Envoy's worker instruction by
instruction and notes where each stands. Unlike CPU time that hardly depends on what else a machine does: how many
instructions, on how many cache lines (64 bytes) and pages (4 KB), and how much of it is code that V8 made of a module.
What the kernel does isn't seen. x86-64 only.
"""

import ctypes
import os
import platform
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import request
import wire
from harness import Lab

WARM_UP = 300  # requests; V8 has compiled all by then, and the allocators are in their stride
SETTLED = 0.3  # seconds without anything to do
SEIZE, INTERRUPT, CONTINUE, SINGLE_STEP, PEEK_USER, DETACH = 0x4206, 0x4207, 7, 9, 3, 17  # ptrace(2)
INSTRUCTION_POINTER = 16 * 8  # in struct user_regs_struct
ANY_CHILD = 0x40000000  # waitpid(2): __WALL

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype, libc.ptrace.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def main():
    if platform.machine() != "x86_64":
        sys.exit("steps: x86-64 only")
    nodes = request.nodes()
    print(f"{'':18}{'instructions':>13}{'lines':>7}{'pages':>7}   of the module:{'instructions':>13}{'lines':>7}{'pages':>7}")
    with tempfile.TemporaryDirectory() as folder, wire.Upstream() as upstream, Lab(Path(folder), nodes, upstream, None) as lab:
        for name, node in lab.nodes.items():
            with socket.create_connection(("127.0.0.1", node.port)) as connection:
                for _ in range(WARM_UP):
                    ask(connection, name)
                time.sleep(SETTLED)
                addresses = step_through(worker(lab.process.pid), lambda c=connection, n=name: ask(c, n))
            code = compiled(lab.process.pid)
            module = [each for each in addresses if any(begin <= each < end for begin, end in code)]
            print(f"{name:18}{counted(addresses)}{'':18}{counted(module)}")


def counted(addresses):
    lines, pages = {each >> 6 for each in addresses}, {each >> 12 for each in addresses}
    return f"{len(addresses):13,}{len(lines):7,}{len(pages):7,}"


def ask(connection, name):
    """One request, until its answer ends with its body."""
    lines = [f"GET {request.path(name)} HTTP/1.1", "host: a.example", *(f"{key}: {value}" for key, value in request.HEADERS.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length(answer):
        answer += connection.recv(1 << 16)


def length(answer):
    headers = (line.partition(b":") for line in answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"))
    return next(int(value) for name, _, value in headers if name == b"content-length")


def worker(pid):
    [thread] = [each for each in Path(f"/proc/{pid}/task").iterdir() if (each / "comm").read_text().startswith("wrk:")]
    return int(thread.name)


def compiled(pid):
    """Where the code is that V8 made: executable, and of no file."""
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
