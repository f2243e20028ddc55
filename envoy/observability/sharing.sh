#!/usr/bin/env bash
# Makes the daily rows that are missing, and from them the register's sharing.json on the branch `sharing`, for review.
#   sharing.sh ROWS CHECKOUT [TODAY]
# ROWS is a folder with a file for each day. CHECKOUT is a clone of the register's repository, where the register is in
# register/. TODAY is a day of UTC, for tests. docs/observability.md says how to run it each day, and what comes after.
set -euo pipefail
rows=$1 checkout=$2 today=${3:-$(date -u +%F)}
days=35 # a week, and the 28 days before each of its days

ago() { date -u -d "$today - $1 days" +%F; }

for ((n = days; n > 0; n--)); do
    file=$rows/$(ago "$n").jsonl
    [[ ! -e $file ]] || continue
    clickhouse-client --query \
        "SELECT * FROM sharing_days(since = '$(ago "$n")', until = '$(ago $((n - 1)))') FORMAT JSONEachRow" > "$file.new"
    # A day without events is asked for again next time: its events may not be loaded yet.
    if [[ -s $file.new ]]; then mv "$file.new" "$file"; else rm "$file.new"; fi
done
for file in "$rows"/????-??-??.jsonl; do
    [[ ${file##*/} > $(ago "$days") ]] || rm "$file"
done

git -C "$checkout" fetch --quiet origin
git -C "$checkout" switch --quiet --discard-changes --no-track -C sharing origin/main
waybill sharing "$rows"/*.jsonl --register "$checkout/register" --until "${today}T00:00:00Z" -o "$checkout/register/sharing.json"
git -C "$checkout" add register/sharing.json
# Where only the numbers of what was looked at differ, there is nothing to review: the branch is main.
if ! git -C "$checkout" diff --cached --quiet -I '^ *"[a-z_]*": [0-9]*,?$'; then
    git -C "$checkout" commit --quiet --message "Signs of sharing until $today"
fi
git -C "$checkout" push --quiet --force origin sharing
