# B needs A; C, E and F need B; D needs C; G needs A. Only C comes last: D waits for it, nobody else does, and
# each is tested on what it needs and on those ahead of it.
window 7
change A
change B needs A
change C needs B
change D needs C
change E needs B
change F needs B
change G needs A
announce D G F E B A
testing A on main, G on A, B on A G, F on A G B, E on A G B F
events D: queued blocked(dependency)
announce C
testing A on main, G on A, B on A G, F on A G B, E on A G B F, C on A G B F E, D on A G B F E C
stopped nothing
finish D C E F B G A
main: base A G B F E C D
runs 7
