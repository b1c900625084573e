# A needs B and B needs A: both are told so, nothing hangs, and others go on.
window 3
change A needs B
change B needs A
change C
announce A B C
events B: queued blocked(cycle)
testing C on main
finish C
main: base C
withdraw B
events B: queued blocked(cycle) withdrawn
