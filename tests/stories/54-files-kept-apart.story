# The strict rule by files: who touches the same file waits until the earlier one is decided, though the two would
# merge; who does not goes past it. When the one ahead has landed the other one takes its turn.
window 3
overlap files
change A edits shared.txt:5
change B edits shared.txt:20
change C
announce A B C
testing A on main, C on A
events B: queued blocked(overlap)
finish A
main: base A
testing C on A, B on C
finish C B
main: base A C B
events B: queued blocked(overlap) testing complete
runs 3
