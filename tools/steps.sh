# Steps: each says what it does, that it is still running, and how long it took.

STEP= # the running step, for the message when it fails
STEPS=0
SKIPPED=0
HEART=
BESIDE= # set in a part of a step, where the whole has the heart

have() { command -v "$1" >/dev/null; }
quiet() { "$@" >/dev/null; }
silent() { "$@" &>/dev/null; }
say() { printf '==> %s\n' "$*"; }
at_least() { [[ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" == "$2" ]]; }
minutes() { printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); }

die() {
    printf 'build.sh: %s\n' "$*" >&2
    STEP=
    exit 1
}

# step NAME COMMAND...: a command that fails ends the run.
step() {
    begin "$1"
    "${@:2}"
    end
}

# try NAME COMMAND...: the same for a command that may fail.
try() {
    local status=0
    begin "$1"
    "${@:2}" || status=$?
    end
    return "$status"
}

# together NAME WORDS...: one step of commands side by side, each a string of words. What each says is shown when it is
# over, in this order.
together() {
    local words number=0 pids=() status=0
    begin "$1"
    for words in "${@:2}"; do
        (trap on_exit EXIT; BESIDE=yes; $words) >".build/beside-${#pids[@]}.log" 2>&1 &
        pids+=($!)
    done
    for number in "${!pids[@]}"; do
        wait "${pids[number]}" || status=1
        cat ".build/beside-$number.log"
    done
    ((status == 0)) || exit 1 # which names the step
    end
}

skip() {
    say "SKIPPED: $1"
    SKIPPED=$((SKIPPED + 1))
}

begin() {
    STEP=$1
    STEPS=$((STEPS + 1))
    STEP_START=$SECONDS
    say "$STEP"
    [[ -z "$BESIDE" ]] || return 0
    heartbeat &
    HEART=$!
}

end() {
    stop_heart
    printf '    %s s\n' $((SECONDS - STEP_START))
    STEP=
}

heartbeat() {
    trap - EXIT
    exec <> <(:) # a pipe without a writer: `read` sleeps on it, and no `sleep` is left behind
    while ! read -rt 30 && kill -0 $$ 2>/dev/null; do
        printf '    ... %s: %s s\n' "$STEP" $((SECONDS - STEP_START))
    done
}

stop_heart() {
    [[ -z "$HEART" ]] || { kill "$HEART" && wait "$HEART"; } 2>/dev/null || true
    HEART=
}

on_exit() {
    local status=$?
    stop_heart
    if ((status != 0)) && [[ -n "$STEP" ]]; then
        printf 'build.sh: failed: %s\n' "$STEP" >&2
    fi
}
trap on_exit EXIT
