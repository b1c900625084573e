# Two touch the same file where such are kept apart. The later one is moved to the front: the earlier one gives up its
# place, waits until it is decided, and lands after it.
window 2
overlap files
change A edits api.txt:5
change B edits api.txt:20
change C
announce A B C
events B: queued blocked(overlap)
testing A on main, C on A
promote B
stopped A C
testing B on main, C on B
events A: queued testing blocked(overlap)
finish B
testing C on B, A on C
finish C A
main: base B C A
