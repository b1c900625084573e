# Each is green alone, both together are red: the first lands, the second is failed on the main that it would
# break, and not before.
window 2
change A
change B
red A with B
announce A B
finish B
events B: queued testing blocked(semantic_conflict)
finish A
main: base A
events B: queued testing blocked(semantic_conflict) failed(gate_red)
runs 2
