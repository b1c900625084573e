# B is red while A still runs: A is not disturbed, C moves onto A at once, B is told only when A is decided.
window 3
change A
change B
change C
red B
announce A B C
finish B
stopped C
testing A on main, C on A
events B: queued testing blocked(semantic_conflict)
finish C A
main: base A C
events A: queued testing complete
events B: queued testing blocked(semantic_conflict) failed(gate_red)
events C: queued testing testing complete
runs 4
