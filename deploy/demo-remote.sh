#!/bin/sh
# Makes a bare demo repository with a gate, unless it is there, and serves it by git's own daemon. No passwords:
# whoever reaches the port can push.
#   demo-remote.sh [PORT] [ADDRESS]; the repository is $DEMO_ROOT/demo.git
set -eu

root="${DEMO_ROOT:?names the directory that is served}"
port="${1:-9418}"
address="${2:-127.0.0.1}"
repo="$root/demo.git"

make_repository() {
    work="$(mktemp -d)"
    git init --quiet --initial-branch=main "$work"
    cd "$work"
    git config user.name "Yardmaster demo"
    git config user.email "demo@yardmaster.invalid"
    mkdir notes
    printf '# Demo\n\nEach agent adds notes; a note must not be empty.\n' >README.md
    cat >check.sh <<'CHECK'
#!/bin/sh
# The gate: red when a note is empty or says FIXME.
set -eu
for note in notes/*.txt; do
    [ -e "$note" ] || continue
    [ -s "$note" ] || { echo "$note is empty"; exit 1; }
    if grep -q FIXME "$note"; then echo "$note is not finished"; exit 1; fi
done
CHECK
    printf '[gate]\nrun = "sh check.sh"\ntimeout = "1m"\n' >.yardmaster.toml
    : >notes/.keep
    git add --all
    git commit --quiet --message "A repository to try things out in"
    # Moved to its place in one step: a start that was cut off leaves no half repository.
    rm -rf "$repo.new"
    git clone --quiet --bare "$work" "$repo.new"
    mv "$repo.new" "$repo"
    cd /
    rm -rf "$work"
}

[ -d "$repo" ] || make_repository
echo "serving git://$address:$port/demo.git"
exec git daemon --reuseaddr --export-all --enable=receive-pack \
    --base-path="$root" --listen="$address" --port="$port" "$root"
