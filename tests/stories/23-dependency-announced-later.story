# C needs B needs A, announced in the wrong order: C and B wait, nobody fails, they land as they must.
window 3
change C needs B
change B needs A
change A
announce C
events C: queued blocked(dependency)
announce B
announce A
testing A on main, B on A, C on A B
finish C B A
main: base A B C
events A: queued testing complete
runs 3
