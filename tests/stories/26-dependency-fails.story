# D needs C needs B, and B is red: C and D leave with it and are never tested without it; A and E land.
window 5
change A
change B
change C needs B
change D needs C
change E
red B
announce A B C D E
testing A on main, B on A, C on A B, D on A B C, E on A B C D
finish A B
events B: queued testing failed(gate_red)
events C: queued testing failed(dependency_failed)
events D: queued testing failed(dependency_failed)
testing E on main
finish E
main: base A E
