# The project declares that requests that share no file have nothing to do with each other: C stands on main beside A,
# lands first, and takes nothing from A's run; B shares a file with A and stands on it.
window 3
rules independence.by = "files"
change A edits shared.txt:5
change B edits shared.txt:20
change C
announce A B C
testing A on main, B on A, C on main
finish C
main: base C
stopped nothing
testing A on main, B on A
finish A
main: base C A
testing B on A
finish B
main: base C A B
runs 3
events A: queued testing complete
events B: queued testing complete
events C: queued testing complete
