# The daemon dies in a push that the remote did take: when it is back it looks, A is complete once, and nothing
# is merged twice.
window 2
change A
announce A
kill in next push after arrival
finish A
main: base A
events A: queued testing
restart
events A: queued testing complete
main: base A
runs 1
