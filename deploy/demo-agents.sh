#!/usr/bin/env bash
# A few agents at work: each clones the remote, makes branches, pushes them and offers them to the queue.
#   demo-agents.sh REMOTE
# DEMO_AGENTS (3) agents work at the same time, each makes DEMO_BRANCHES (3) branches; the last branch of the first
# agent is not finished, so that its gate is red. Where the queue's NATS is: YARDMASTER__NATS__URL.
set -euo pipefail

remote="${1:?names the git remote to work on}"
agents="${DEMO_AGENTS:-3}"
branches="${DEMO_BRANCHES:-3}"
# Branch names of this run, so that a second run offers new work.
run="$(date +%s)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The one place that knows how a branch is offered.
offer() {
    yardmaster submit --agent "$1" --branch "$2" --requirement "$3"
}

agent() {
    local name="$1" number="$2" clone="$work/$1" task branch note
    git clone --quiet "$remote" "$clone"
    git -C "$clone" config user.name "$name"
    git -C "$clone" config user.email "$name@yardmaster.invalid"
    for task in $(seq 1 "$branches"); do
        branch="$name/$run-$task"
        note="notes/$name-$run-$task.txt"
        git -C "$clone" switch --quiet --create "$branch" origin/main
        if [ "$number" = 1 ] && [ "$task" = "$branches" ]; then
            echo "FIXME" >"$clone/$note"
        else
            echo "task $task of $name" >"$clone/$note"
        fi
        git -C "$clone" add "$note"
        git -C "$clone" commit --quiet --message "$name: task $task"
        git -C "$clone" push --quiet origin "$branch"
        offer "$name" "$branch" "REQ-$run-$number$task"
    done
}

pids=()
for number in $(seq 1 "$agents"); do
    agent "agent-$number" "$number" &
    pids+=("$!")
done
failed=0
for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
yardmaster status || failed=1
exit "$failed"
