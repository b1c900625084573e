# The daemon dies in a push, and a hotfix goes on top before it is back: A counts as landed, the hotfix stays.
window 2
change A
announce A
kill in next push after arrival
finish A
hotfix H
restart
main: base A H
events A: queued testing complete
runs 1
