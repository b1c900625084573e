# Two that do not merge wait for each other, not for ever: when the one ahead is red, the other one goes on at its place.
window 1
change A edits api.txt:10
change B edits api.txt:10
change C
red A
announce A B C
testing A on main
events B: queued blocked(textual_conflict)
finish A
testing C on main
finish C B
main: base C B
events B: queued blocked(textual_conflict) testing complete
