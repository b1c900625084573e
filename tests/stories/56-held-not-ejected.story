# Held, and not ejected: those that wait for the same file keep their order, and go on when the one ahead of
# them fails or is taken back.
window 3
overlap files
change A edits shared.txt:5
change B edits shared.txt:15
change C edits shared.txt:25
red A
announce A B C
testing A on main
events C: queued blocked(overlap)
finish A
testing B on main
events C: queued blocked(overlap)
withdraw B
testing C on main
finish C
main: base C
events C: queued blocked(overlap) testing complete
