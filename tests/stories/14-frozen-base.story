# Main moves while A is under test: the verdict is about the old main, so A is tested again on the new one.
window 2
change A
announce A
hotfix H
finish A
testing A on main
main: base H
finish A
main: base H A
events A: queued testing testing complete
runs 2
