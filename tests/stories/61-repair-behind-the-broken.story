# B repairs A, but comes behind it: A alone would make main red at that commit, so A fails; B lands.
window 2
change A
change B
red A unless B
announce A B
finish B A
events A: queued testing failed(gate_red)
finish B
main: base B
