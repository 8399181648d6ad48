#!/usr/bin/env bash
# Kills a build at random moments and resumes it until it is done, then compares every byte with an undisturbed
# build; builds once more with one thread and compares again. Needs about three times the index's size on disk.
#
#   benches/campaigns/kill-resume.sh NEARLINE BASE [KILLS] [MEMORY] [WORK]
#
# NEARLINE is the binary, BASE a file of vectors, KILLS the number of kills (10), MEMORY the budget (256MiB), WORK a
# folder for the indexes (a new temporary one).
set -euo pipefail
nearline=$1 base=$2 kills=${3:-10} memory=${4:-256MiB} work=${5:-$(mktemp -d)}
mkdir -p "$work"
build=("$nearline" build --input "$base" --metric l2 --memory "$memory" --progress none --json)
sums() { (cd "$1" && sha256sum $(ls | grep -v '^LOCK$')); }

echo "undisturbed, 2 threads"
start=$(date +%s%N)
"${build[@]}" --output "$work/whole" --threads 2 > "$work/whole.json"
took_ms=$((($(date +%s%N) - start) / 1000000))
echo "  $took_ms ms, peak RSS $(grep -o '"peak_ram_bytes":[0-9]*' "$work/whole.json" | tail -n 1 | cut -d: -f2) bytes"

echo "killed $kills times"
killed=0
flag=
while [ "$killed" -lt "$kills" ]; do
    "${build[@]}" --output "$work/killed" --threads 2 $flag > "$work/killed.json" 2> "$work/killed.err" &
    pid=$!
    # Within 0.6 of a whole build: some kills hit early stages, most attempts get on to the later ones.
    sleep "$(awk -v seed="$RANDOM" -v ms="$took_ms" 'BEGIN { srand(seed); print ms * rand() * 0.6 / 1000 }')"
    if ! kill -KILL "$pid" 2> /dev/null; then
        wait "$pid" && echo "  finished before kill $((killed + 1)): starting over" && rm -rf "$work/killed" && flag= && continue
        cat "$work/killed.err"
        exit 1
    fi
    wait "$pid" 2> /dev/null || true
    killed=$((killed + 1))
    if "$nearline" inspect "$work/killed" > /dev/null 2> "$work/inspect.err"; then
        echo "  kill $killed: the index was finished already"
    else
        echo "  kill $killed: $(ls "$work/killed" | sed 's/[.][0-9]*$//' | sort | uniq -c | awk '{printf "%s x%s  ", $2, $1}')"
    fi
    flag=--resume
done
if ! "$nearline" inspect "$work/killed" > /dev/null 2>&1; then
    "${build[@]}" --output "$work/killed" --threads 2 --resume > "$work/killed.json"
fi
diff <(sums "$work/whole") <(sums "$work/killed") && echo "  resumed: identical to the byte"

echo "1 thread"
"${build[@]}" --output "$work/single" --threads 1 > "$work/single.json"
diff <(sums "$work/whole") <(sums "$work/single") && echo "  1 thread: identical to the byte"
"$nearline" verify "$work/killed"
