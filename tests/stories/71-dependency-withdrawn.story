# A stands on B when B is taken back: A waits and says so, and C goes past it. (Found by the simulator.)
window 3
change B
change A needs B
change C
announce B A C
withdraw B
testing C on main
events A: queued testing blocked(dependency)
finish C
main: base C
announce B
finish B A
main: base C B A
