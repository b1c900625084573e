# One slot: what comes while it is busy is tested by one run, and lands beneath one merge commit.
window 2
batch 8 slots 1
change A
change B
change C
change D
announce A B C D
testing A on main
finish A
main: base A
testing D on A B C
finish D
main: base A [B C D]
events B: queued complete
events D: queued testing complete
runs 2
