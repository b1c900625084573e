# A's branch gets a new commit and is announced again: the old one is never landed as if it were the new one.
window 3
change A
change B
announce A B
testing A on main, B on A
push A edits shared.txt:5
announce A
stopped A B
testing B on main, A on B
finish B A
main: base B A
events A: queued testing queued superseded testing complete
