# The remote does not answer when A is to be pushed: the same tested commit is pushed later, nobody is told of
# a failure, nothing is tested again.
window 2
change A
announce A
remote silent
finish A
main: base
remote answers
main: base A
events A: queued testing complete
runs 1
