# A needs B and B needs A, and such are bundled: they are tested together once, and land beneath one merge commit.
window 3
cycles bundle
change A needs B
change B needs A
change C
announce A
events A: queued blocked(dependency)
announce C B
testing B on C A, C on main
finish C B
main: base C [A B]
events A: queued blocked(dependency) complete
events B: queued testing complete
runs 2
