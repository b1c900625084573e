# A, B and C need each other, and C is never announced: nobody is tested, nobody is failed, others go on.
window 3
cycles bundle
change A needs B
change B needs C
change C needs A
change D
announce A B D
testing D on main
finish D
main: base D
events A: queued blocked(dependency) blocked(dependency)
events B: queued blocked(dependency)
