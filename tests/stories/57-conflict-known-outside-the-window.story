# Who waits outside the window and conflicts with somebody ahead is told at once, and takes no slot: when the
# one ahead lands it fails with the conflict, without a run.
window 1
change A edits api.txt:10
change B edits api.txt:10
change C
announce A B C
testing A on main
events B: queued blocked(textual_conflict)
finish A
testing C on main
events B: queued blocked(textual_conflict) failed(conflict)
finish C
main: base A C
runs 2
