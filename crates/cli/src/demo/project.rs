//! The sample project: a shell library of prices with tests that check something.

/// Path and text of every file of the first commit.
pub(super) const FILES: &[(&str, &str)] = &[
    ("README.md", "# prices\n\nA small shell library. `sh ./test.sh` tests it.\n"),
    (
        ".yardmaster.toml",
        "# What must be green before anything lands here.\n[gate]\ntimeout = \"1m\"\n\n[[gate.steps]]\nname = \"test\"\nrun = \"sh ./test.sh\"\n",
    ),
    ("test.sh", TEST),
    ("lib/price.sh", PRICE),
    ("lib/rates.sh", RATES),
    ("lib/shipping.sh", SHIPPING),
    ("lib/round.sh", ROUND),
    (
        "tests/price.sh",
        "is 'three prices' \"$(price_total 100 250 1)\" 351\nis 'no price' \"$(price_total)\" 0\nis 'cents' \"$(price_show 1205)\" 12.05\n",
    ),
    ("tests/rates.sh", "is 'books' \"$(tax_rate books)\" 7\nis 'parcel' \"$(shipping_rate parcel)\" 490\n"),
    (
        "tests/shipping.sh",
        "is 'large orders' \"$(shipping_for 9000)\" 0\nis 'small orders' \"$(shipping_for 100)\" 490\n",
    ),
    ("tests/round.sh", "is 'down' \"$(round_to_five 12)\" 10\nis 'up' \"$(round_to_five 13)\" 15\n"),
];

const TEST: &str = r#"#!/bin/sh
# Reads every library, then every file in tests/.
set -eu
cd "$(dirname "$0")"
checked=0 failed=0

# is NAME FOUND EXPECTED
is() {
    checked=$((checked + 1))
    [ "$2" = "$3" ] && return
    failed=$((failed + 1))
    echo "not ok: $test: $1: found '$2', expected '$3'"
}

for lib in lib/*.sh; do . "./$lib"; done
for test in tests/*.sh; do . "./$test"; done

# As slow as small test suites are.
sleep 1

echo "$checked checks, $failed failed"
[ "$failed" -eq 0 ]
"#;

const PRICE: &str = r"# Adds up prices in cents.
price_total() {
    total=0
    for price in $@; do
        total=$((total + price))
    done
    echo $total
}

# 1205 is 12.05
price_show() {
    printf '%d.%02d\n' $(($1 / 100)) $(($1 % 100))
}
";

const RATES: &str = r"# Tax in percent.
tax_rate() {
    case $1 in
        books) echo 7 ;;
        food) echo 7 ;;
        *) echo 19 ;;
    esac
}

# Shipping in cents.
shipping_rate() {
    case $1 in
        letter) echo 120 ;;
        parcel) echo 490 ;;
        *) echo 990 ;;
    esac
}
";

const SHIPPING: &str = r"# Orders from here on are sent for nothing, in cents.
free_from=4000

# What sending an order of so many cents costs.
shipping_for() {
    if [ $1 -ge $free_from ]; then echo 0; else shipping_rate parcel; fi
}
";

const ROUND: &str = r"# To the nearest five cents.
round_to_five() {
    echo $((($1 + 2) / 5 * 5))
}
";
