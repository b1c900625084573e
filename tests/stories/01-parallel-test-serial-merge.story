# Three changes are tested at the same time, each on top of those ahead of it, and land in order.
window 3
change A
change B
change C
announce A B C
testing A on main, B on A, C on A B
finish A
main: base A
finish B C
main: base A B C
events A: queued testing complete
events C: queued testing complete
runs 3
