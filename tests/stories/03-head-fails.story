# A is red: the runs of B and C stood on it, are stopped, and start again without it.
window 3
change A
change B
change C
red A
announce A B C
testing A on main, B on A, C on A B
finish A
stopped B C
testing B on main, C on B
finish B C
main: base B C
events A: queued testing failed(gate_red)
events B: queued testing testing complete
events C: queued testing testing complete
runs 5
