# The same commit announced again, while queued and after landing: one entry, one merge, no second event.
window 2
change A
announce A A
testing A on main
announce A
finish A
announce A
main: base A
events A: queued testing complete
runs 1
