# A and B change one line. A lands; B is told of the conflict without ever being tested; C is tested on A.
window 3
change A edits shared.txt:10
change B edits shared.txt:10
change C
announce A B C
testing A on main, C on A
events B: queued blocked(textual_conflict)
finish A C
main: base A C
events B: queued blocked(textual_conflict) failed(conflict)
events C: queued testing complete
runs 2
