#!/bin/bash
# SPDX-License-Identifier: MIT
# bench/redis.sh: torcd and redis-server side by side, driven by redis-benchmark: SET and GET, 50 clients, pipelines of
# 1 and 16. Both servers run the whole time on loopback ports of their own, without persistence; rounds are interleaved;
# each server's processor time is read from /proc around each measurement. A Markdown table goes to standard output.
#
# With --update FILE it takes the place of what stands between the lines "<!-- redis.sh begin -->" and
# "<!-- redis.sh end -->".
#
# usage: bench/redis.sh --torcd PATH [--update FILE] [--rounds N] [--requests N] [--keys N] [--value-size N]
#                       [--clients N]
#                       [--client-threads N] [--torcd-threads N] [--redis-threads N] [--smoke]
set -euo pipefail

torcd=
update=
rounds=3
requests=300000             # At pipeline 1; four times as many at 16.
keys=1000000
value_size=100
clients=50
client_threads=1
torcd_threads=0             # 0: as torcd chooses.
redis_threads=1             # Redis's own default.
limit_s=120                 # No single measurement takes longer.

fail() {
    echo "redis.sh: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --smoke) rounds=1 requests=2000 keys=1000; shift; continue ;;
        --torcd | --update | --rounds | --requests | --keys | --value-size | --clients | --client-threads | \
            --torcd-threads | --redis-threads)
            [ $# -ge 2 ] || fail "$1 needs a value"
            name=${1#--}
            declare "${name//-/_}=$2"
            shift 2 ;;
        *) fail "what is '$1'?" ;;
    esac
done
[ -z "$update" ] || grep -q '^<!-- redis.sh begin -->$' "$update" || fail "$update has no line for the table"
[ -x "$torcd" ] || fail "--torcd PATH must name the server"
for tool in redis-server redis-benchmark redis-cli; do
    command -v $tool > /dev/null || fail "$tool is missing (packages redis-server, redis-tools)"
done

directory=$(mktemp -d)
torcd_pid=
redis_pid=
finish() {
    for pid in $torcd_pid $redis_pid; do
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
    rm -r "$directory"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A loopback port that nobody listens on.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 20000))
        (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
    done
    echo $port
}

# Wait until a server answers: name, pid, port.
await() {
    for _ in $(seq 200); do
        [ "$(redis-cli -p "$3" ping 2> /dev/null)" = PONG ] && return
        kill -0 "$2" 2> /dev/null || { cat "$directory/$1.log" >&2; fail "$1 ended"; }
        sleep 0.05
    done
    fail "$1 does not answer"
}

torcd_port=$(free_port)
"$torcd" --memory-only --port "$torcd_port" --threads "$torcd_threads" > "$directory/torcd.log" 2>&1 &
torcd_pid=$!
await torcd $torcd_pid "$torcd_port"
redis_port=$(free_port)
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --io-threads "$redis_threads" \
    --dir "$directory" > "$directory/redis.log" 2>&1 &
redis_pid=$!
await redis $redis_pid "$redis_port"

# Processor seconds a process has used, user and system: pid.
cpu_seconds() {
    sed 's/.*) //' "/proc/$1/stat" | awk -v hertz="$(getconf CLK_TCK)" '{ printf "%.2f\n", ($12 + $13) / hertz }'
}

# One measurement: server, command, pipeline. Prints "requests/s p50-ms p99-ms server-cpu-seconds".
measure() {
    local port pid before after n line
    if [ "$1" = torcd ]; then port=$torcd_port pid=$torcd_pid; else port=$redis_port pid=$redis_pid; fi
    n=$requests
    [ "$3" = 1 ] || n=$((requests * 4))
    before=$(cpu_seconds $pid)
    line=$(timeout $limit_s redis-benchmark -p "$port" -t "$2" -c "$clients" -P "$3" -n "$n" -r "$keys" \
        -d "$value_size" --threads "$client_threads" --csv | tail -1) || fail "$1 $2: redis-benchmark failed"
    after=$(cpu_seconds $pid)
    echo "$line" | tr -d '"' | awk -F, -v after="$after" -v before="$before" '{ print $2, $5, $7, after - before }'
}

# Fill both with the same keys before anything is measured.
for port in $torcd_port $redis_port; do
    timeout $limit_s redis-benchmark -p "$port" -t set -c "$clients" -P 16 -n "$keys" -r "$keys" -d "$value_size" \
        -q > /dev/null
done

for round in $(seq "$rounds"); do
    for pipeline in 1 16; do
        for command in set get; do
            for server in torcd redis; do
                results=$directory/$server.$command.$pipeline
                measure $server $command $pipeline >> "$results"
                echo "round $round: $server $command, pipeline $pipeline: $(tail -1 "$results")" >&2
            done
        done
    done
done

# The middle of one column over the rounds: file, column.
median() {
    awk -v column="$2" '{ print $column }' "$1" | sort -g |
        awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# "median (least–most)" of the throughput: file.
throughput() {
    local bounds
    bounds=$(awk '{ print $1 }' "$1" | sort -g | sed -n '1p;$p' | awk '{ printf "%s%.0f", (NR > 1 ? "–" : ""), $1 }')
    printf '%.0f (%s)' "$(median "$1" 1)" "$bounds"
}

table() {
    echo "- $(redis-server --version | sed 's/ sha=.*//'), io-threads $redis_threads, no persistence; torcd with" \
        "$([ "$torcd_threads" = 0 ] && echo "a thread per processor" || echo "$torcd_threads threads")"
    echo "- $clients clients from $client_threads thread(s) of redis-benchmark on the same machine" \
        "($(nproc) processors), $keys keys," \
        "values of $value_size bytes; $rounds interleaved rounds, medians (least–most)"
    echo
    printf '| command | pipeline | torcd, requests/s | redis, requests/s | torcd / redis | p50, p99 ms torcd '
    echo '| p50, p99 ms redis | torcd CPU s per million | redis CPU s per million |'
    echo "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for pipeline in 1 16; do
        n=$requests
        [ $pipeline = 1 ] || n=$((requests * 4))
        for command in set get; do
            torcd_results=$directory/torcd.$command.$pipeline
            redis_results=$directory/redis.$command.$pipeline
            row="| ${command^^} | $pipeline | $(throughput "$torcd_results") | $(throughput "$redis_results") |"
            row+=" $(awk -v torcd="$(median "$torcd_results" 1)" -v redis="$(median "$redis_results" 1)" \
                'BEGIN { printf "%.2f", torcd / redis }') |"
            for results in "$torcd_results" "$redis_results"; do
                row+=" $(median "$results" 2), $(median "$results" 3) |"
            done
            for results in "$torcd_results" "$redis_results"; do
                row+=" $(median "$results" 4 | awk -v n=$n '{ printf "%.2f", $1 * 1e6 / n }') |"
            done
            echo "$row"
        done
    done
}

if [ -n "$update" ]; then
    table > "$directory/table"
    sed -i -e '/^<!-- redis.sh begin -->$/,/^<!-- redis.sh end -->$/ { /^<!-- redis.sh/ !d }' \
        -e "/^<!-- redis.sh begin -->$/ r $directory/table" "$update"
else
    table
fi
