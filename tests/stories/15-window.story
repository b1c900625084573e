# A window of two: C waits. When A is red the window closes to one and B runs alone; B lands, it opens again.
window 1..2
change A
change B
change C
change D
red A
announce A B C D
testing A on main, B on A
finish A
stopped B
testing B on main
finish B
testing C on main, D on C
finish C D
main: base B C D
runs 5
