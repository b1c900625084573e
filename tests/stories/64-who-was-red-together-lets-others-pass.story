# A and B are red together: C, which came later, passes them at once, and is not tested on top of them.
window 2
batch 2 slots 1
change X
change A
change B
change C
red A
announce X A B C
finish X
testing B on X A
finish B
testing C on main
finish C
main: base X C
testing A on C
finish A
testing B on main
finish B
main: base X C B
