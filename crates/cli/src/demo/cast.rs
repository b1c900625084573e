//! Who plays, and what has to come of it.

use yardmaster_protocol::Cause;

/// One agent with one branch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) agent: &'static str,
    pub(super) branch: &'static str,
    pub(super) requirement: &'static str,
    pub(super) title: &'static str,
    pub(super) priority: u8,
    pub(super) system: &'static str,
    pub(super) edits: &'static [Edit],
    pub(super) fate: Fate,
}

/// One change to one file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit {
    New(&'static str, &'static str),
    Replace(&'static str, &'static str, &'static str),
}

/// What has to become of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lands,
    Fails(Failing),
}

/// How a branch has to fail, and what its author has to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) cause: Cause,
    /// In the evidence: a path, the other side, or a piece of the log.
    pub(super) shown: &'static str,
    /// Its tests are green as long as nobody else lands.
    pub(super) green_alone: bool,
}

/// In the order in which they announce, which is the wrong one: frontend, backend, infrastructure.
pub(super) const CAST: &[Role] = &[
    Role {
        agent: "cara",
        branch: "cara/price-labels",
        requirement: "REQ-301",
        title: "Print price labels",
        priority: 3,
        system: "frontend",
        edits: &[
            Edit::New(
                "lib/label.sh",
                "# A label for the shelf: NAME CENTS\nlabel() {\n    printf '%-12s %8s\\n' \"$1\" \"$(price_show $2)\"\n}\n",
            ),
            Edit::New("tests/label.sh", "is 'label' \"$(label tea 250)\" 'tea              2.50'\n"),
        ],
        fate: Fate::Lands,
    },
    Role {
        agent: "joe",
        branch: "joe/receipts",
        requirement: "REQ-302",
        title: "Print receipts",
        priority: 3,
        system: "frontend",
        edits: &[
            Edit::New(
                "lib/receipt.sh",
                "# The last line of a receipt: CENTS…\nreceipt_sum() {\n    echo \"Sum $(price_show $(price_total $@))\"\n}\n\n# The first line of a receipt.\nreceipt_head() {\n    echo 'Thank you for your order'\n}\n",
            ),
            Edit::New("tests/receipt.sh", "is 'sum' \"$(receipt_sum 100 250)\" 'Sum 3.50'\n"),
        ],
        fate: Fate::Fails(Failing { cause: Cause::GateRed, shown: "price_total", green_alone: true }),
    },
    Role {
        agent: "ben",
        branch: "ben/discounts",
        requirement: "REQ-201",
        title: "Take discounts off prices",
        priority: 2,
        system: "backend",
        edits: &[
            Edit::New(
                "lib/discount.sh",
                "# A price without so many percent: CENTS PERCENT\ndiscount() {\n    echo $(($1 * (100 - $2) / 100))\n}\n\n# The discount of a good customer, in percent.\ncustomer_discount() {\n    if [ $1 -ge 10 ]; then echo 5; else echo 0; fi\n}\n",
            ),
            Edit::New(
                "tests/discount.sh",
                "is 'ten percent' \"$(discount 1000 10)\" 900\nis 'good customer' \"$(customer_discount 12)\" 5\n",
            ),
        ],
        fate: Fate::Lands,
    },
    Role {
        agent: "dan",
        branch: "dan/medicine-tax",
        requirement: "REQ-202",
        title: "Medicine has a rate of its own",
        priority: 2,
        system: "backend",
        edits: &[Edit::Replace(
            "lib/rates.sh",
            "        food) echo 7 ;;\n",
            "        food) echo 7 ;;\n        medicine) echo 5 ;;\n",
        )],
        fate: Fate::Lands,
    },
    Role {
        agent: "eve",
        branch: "eve/pallets",
        requirement: "REQ-203",
        title: "Send pallets",
        priority: 2,
        system: "backend",
        edits: &[Edit::Replace(
            "lib/rates.sh",
            "        parcel) echo 490 ;;\n",
            "        parcel) echo 490 ;;\n        pallet) echo 4900 ;;\n",
        )],
        fate: Fate::Lands,
    },
    Role {
        agent: "finn",
        branch: "finn/free-from-30",
        requirement: "REQ-204",
        title: "Send orders from 30.00 for nothing",
        priority: 2,
        system: "backend",
        edits: &[Edit::Replace("lib/shipping.sh", "free_from=4000", "free_from=3000")],
        fate: Fate::Lands,
    },
    Role {
        agent: "gwen",
        branch: "gwen/free-from-50",
        requirement: "REQ-205",
        title: "Send orders from 50.00 for nothing",
        priority: 2,
        system: "backend",
        edits: &[Edit::Replace("lib/shipping.sh", "free_from=4000", "free_from=5000")],
        fate: Fate::Fails(Failing { cause: Cause::Conflict, shown: "lib/shipping.sh", green_alone: true }),
    },
    Role {
        agent: "hal",
        branch: "hal/simpler-rounding",
        requirement: "REQ-206",
        title: "Round more simply",
        priority: 2,
        system: "backend",
        edits: &[Edit::Replace("lib/round.sh", "$((($1 + 2) / 5 * 5))", "$(($1 / 5 * 5))")],
        fate: Fate::Fails(Failing {
            cause: Cause::GateRed,
            shown: "not ok: tests/round.sh",
            green_alone: false,
        }),
    },
    Role {
        agent: "ivy",
        branch: "ivy/cart-total",
        requirement: "REQ-207",
        title: "Call price_total what it is: cart_total",
        priority: 2,
        system: "backend",
        edits: &[
            Edit::Replace("lib/price.sh", "price_total()", "cart_total()"),
            Edit::Replace("tests/price.sh", "$(price_total 100 250 1)", "$(cart_total 100 250 1)"),
            Edit::Replace("tests/price.sh", "$(price_total)", "$(cart_total)"),
        ],
        fate: Fate::Lands,
    },
    Role {
        agent: "ada",
        branch: "ada/syntax-first",
        requirement: "REQ-101",
        title: "Check the syntax of every library first",
        priority: 1,
        system: "infrastructure",
        edits: &[Edit::Replace(
            "test.sh",
            "for lib in lib/*.sh; do . ",
            "for lib in lib/*.sh; do sh -n \"$lib\"; done\nfor lib in lib/*.sh; do . ",
        )],
        fate: Fate::Lands,
    },
];

/// The role of an agent.
pub(super) fn role_of(agent: &str) -> Option<&'static Role> {
    CAST.iter().find(|role| role.agent == agent)
}
