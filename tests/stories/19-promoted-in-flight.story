# An operator moves two to the front of one that is under test: they are tested on main and on each other. All three
# together are the same tree in any order, so that run goes on and counts for the last one. To ask for the order
# that is there already changes nothing.
window 3
change A
change B
change C
announce A B C
testing A on main, B on A, C on A B
promote B C
stopped A B
testing B on main, C on B, C on A B
events A: queued testing
events B: queued testing promoted testing
promote B C
stopped nothing
runs 5
restart
testing B on main, C on B, C on A B
finish C C B
main: base B C A
events A: queued testing complete
runs 5
