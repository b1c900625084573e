# A stands on B when B is superseded: A waits for the new B and never lands before it. (Found by the simulator.)
window 3
change B
change A needs B
announce B A
testing B on main, A on B
push B edits shared.txt:5
announce B
stopped A B
testing B on main
events A: queued testing blocked(dependency)
finish B
main: base B
finish A
main: base B A
