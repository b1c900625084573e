# A and B are both red and B's verdict comes first. It was on top of A: B is not failed for it, but tested
# again without A, and then fails for itself.
window 3
change A
change B
change C
red A
red B
announce A B C
finish B
events B: queued testing blocked(semantic_conflict)
finish A
events A: queued testing failed(gate_red)
events B: queued testing blocked(semantic_conflict) testing
testing B on main, C on B
finish B
testing C on main
finish C
main: base C
events B: queued testing blocked(semantic_conflict) testing failed(gate_red)
events C: queued testing testing testing testing complete
