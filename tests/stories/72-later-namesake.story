# While A stands on B, more work for the same requirement comes: nothing that runs is stopped for it. (Found by
# the simulator.)
window 3
change B
change A needs B
change B2 for B
announce B A
testing B on main, A on B
announce B2
testing B on main, A on B, B2 on B A
stopped nothing
finish B2 A B
main: base B A B2
runs 3
