# As before, but the remote did not take it: it is pushed again, once.
window 2
change A
change B
announce A B
kill in next push before arrival
finish B A
main: base
restart
main: base A B
cut next push after arrival
change C
announce C
finish C
main: base A B C
events A: queued testing complete
events C: queued testing complete
runs 3
