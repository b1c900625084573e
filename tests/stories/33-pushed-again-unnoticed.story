# The announcement names a commit that the branch has left: refused, with both named; the next one goes on.
window 2
change A
change B
push A
announce A at 1
announce B
events A: failed(head_changed)
testing B on main
finish B
main: base B
runs 1
