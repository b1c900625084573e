# Who touches what it may not is told so and never tested; others go on. When the rule on main changes it lands.
window 3
rules scope.agents.roy.allow = ["changes/**", "web/**"]; scope.protected = ["deploy/**"]
change A by roy edits api/keys:3
change B by roy edits web/page:3
change C by ana edits deploy/prod:3
announce A B C
events A: queued blocked(scope)
events C: queued blocked(scope)
testing B on main
finish B
main: base B
rules scope.agents.roy.allow = ["changes/**", "api/**"]; scope.protected = ["deploy/**"]
look
testing A on main
finish A
main: base B rules A
events A: queued blocked(scope) testing complete
events C: queued blocked(scope)
