# One that waits outside a full window is moved to the front: it is tested at once on main, and the last one under
# test waits for its turn again, without losing its place.
window 2
change A
change B
change C
announce A B C
testing A on main, B on A
promote C
stopped A B
testing C on main, A on C
finish C
testing A on C, B on A
finish A B
main: base C A B
